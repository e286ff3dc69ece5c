package web

import (
	"io/fs"
	"regexp"
	"strings"
	"testing"
)

var (
	said       = regexp.MustCompile(`\bt\('((?:[^'\\]|\\.)*)'`)
	translated = regexp.MustCompile(`(?m)(?:^|[{,])\s*(?:'([^']*)'|([A-Za-z]+)):\s`)
	// Handlers and styles as text would be inline script to a browser, and
	// these ways to write HTML would run what a user is called.
	unsafe = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|dangerouslySetInnerHTML|\beval\(|new Function|javascript:`)
)

// consoleFiles are the console's texts by name.
func consoleFiles(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := fs.WalkDir(files, "console", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.ReadFile(name)
		all[name] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Every text that a page says in English is there in Chinese.
func TestConsoleSpeaksChinese(t *testing.T) {
	all := consoleFiles(t)
	known := map[string]bool{}
	for _, m := range translated.FindAllStringSubmatch(all["console/chinese.js"], -1) {
		known[m[1]+m[2]] = true
	}
	texts := 0
	for name, text := range all {
		if !strings.HasSuffix(name, ".js") || strings.HasSuffix(name, "chinese.js") {
			continue
		}
		for _, m := range said.FindAllStringSubmatch(text, -1) {
			texts++
			if m[1] != "" && !known[m[1]] {
				t.Errorf("%s says %q, which chinese.js does not have", name, m[1])
			}
		}
	}
	if texts < 300 || len(known) < 300 {
		t.Errorf("found %d texts and %d translations: the patterns of this test do not fit any more", texts, len(known))
	}
}

// What users and channels are called only ever becomes text.
func TestConsoleWritesNoHTML(t *testing.T) {
	for name, text := range consoleFiles(t) {
		if found := unsafe.FindString(text); found != "" {
			t.Errorf("%s has %s", name, found)
		}
	}
	page := consoleFiles(t)["console/index.html"]
	for _, m := range regexp.MustCompile(`<script[^>]*>([^<]*)</script>|\son\w+=|\sstyle=`).FindAllStringSubmatch(page, -1) {
		if m[1] != "" || !strings.HasPrefix(m[0], "<script") {
			t.Errorf("index.html has inline script or style: %s", m[0])
		}
	}
}
