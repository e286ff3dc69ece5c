package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the documents name is there: files of Go and folders in all of them, what
// make makes, and in architecture.md each name of Go.
func TestDocuments(t *testing.T) {
	root := filepath.Join("..", "..")
	documents, err := filepath.Glob(filepath.Join(root, "doc", "*.md"))
	if err != nil || len(documents) < 10 {
		t.Fatalf("%d documents, %v", len(documents), err)
	}
	makefile := read(t, filepath.Join(root, "Makefile"))
	names := declared(t, root)
	words := 0
	for _, file := range append(documents, filepath.Join(root, "README.md")) {
		text := read(t, file)
		for _, word := range backquoted(text) {
			words++
			base := filepath.Base(file)
			switch target, made := strings.CutPrefix(word, "make "); {
			case made && !regexp.MustCompile(`(?m)^([\w-]+ )*`+regexp.QuoteMeta(target)+`( [\w-]+)*:`).MatchString(makefile):
				t.Errorf("%s: there is no `make %s`", base, target)
			case goFile.MatchString(word) && !there(root, word):
				t.Errorf("%s: there is no %s", base, word)
			case base == "architecture.md" && folder.MatchString(word) && !there(root, word):
				t.Errorf("%s: there is no folder %s", base, word)
			case base == "architecture.md" && goName.MatchString(word):
				for _, part := range strings.Split(word, ".") {
					if !names[part] {
						t.Errorf("%s: nothing is called %s, of %s", base, part, word)
					}
				}
			}
		}
	}
	if words < 200 {
		t.Errorf("only %d words are looked at", words)
	}
}

var (
	goFile = regexp.MustCompile(`^[\w./-]+\.go$`)
	folder = regexp.MustCompile(`^[a-z]\w*(/[a-z]\w*)+$`)
	goName = regexp.MustCompile(`^([a-z]\w*(\.\w+)+|[A-Z]\w*[a-z]\w*)$`)
	block  = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	quote  = regexp.MustCompile("`([^`\n]+)`")
)

// backquoted are the words in backquotes outside blocks.
func backquoted(text string) (words []string) {
	for _, m := range quote.FindAllStringSubmatch(block.ReplaceAllString(text, ""), -1) {
		words = append(words, m[1])
	}
	return words
}

// there tells whether a file or folder is in the tree; sfu/wire.go is media's.
func there(root, name string) bool {
	for _, parent := range []string{".", "media", "cmd/braid"} {
		if _, err := os.Stat(filepath.Join(root, parent, name)); err == nil {
			return true
		}
	}
	return false
}

// declared are the names of all packages, types, functions, methods and fields.
func declared(t *testing.T, root string) map[string]bool {
	t.Helper()
	names := make(map[string]bool)
	note := func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.File:
			names[n.Name.Name] = true
		case *ast.TypeSpec:
			names[n.Name.Name] = true
		case *ast.FuncDecl:
			names[n.Name.Name] = true
		case *ast.Field:
			for _, id := range n.Names {
				names[id.Name] = true
			}
		}
		return true
	}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err == nil {
			ast.Inspect(f, note)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
