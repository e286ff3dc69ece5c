package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSDKTypes: the SDK's types are complete TypeScript, a strict page that uses
// all of them compiles, and what they promise of classes and functions is there.
func TestSDKTypes(t *testing.T) {
	dir := npmClients(t)
	work := t.TempDir()
	sdk, err := filepath.Abs("../../web/sdk")
	if err != nil {
		t.Fatal(err)
	}
	modules := filepath.Join(work, "node_modules")
	if err := os.Mkdir(modules, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(sdk, filepath.Join(modules, "braid-sdk")); err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("testdata/interop/npm/use.ts")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(work, "use.ts"), page, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, complaints, err := tryCommand(time.Minute, filepath.Join(dir, "node_modules/.bin/tsc"), "--noEmit", "--strict", "--noUncheckedIndexedAccess",
		"--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext", "--lib", "es2022,dom,dom.iterable",
		filepath.Join(work, "use.ts")); err != nil {
		t.Fatalf("tsc: %v\n%s%s", err, out, complaints)
	}

	types, err := os.ReadFile(filepath.Join(sdk, "braid.d.ts"))
	if err != nil {
		t.Fatal(err)
	}
	var js strings.Builder
	files, err := filepath.Glob(filepath.Join(sdk, "*.js"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		js.Write(b)
	}
	promised := promises(string(types))
	if len(promised) < 30 || !slices.Contains(promised, "publishCamera") || !slices.Contains(promised, "switchDevice") || !slices.Contains(promised, "devices") {
		t.Fatalf("the types promise %v: what the test reads out of them is wrong", promised)
	}
	for _, name := range promised {
		if !regexp.MustCompile(`(?m)^\s*(export )?(async )?(function |get )?\b` + name + `\b\s*[(=;]|this\.` + name + `\b`).MatchString(js.String()) {
			t.Errorf("the types promise %s, which the SDK does not define", name)
		}
	}
}

// promises are the functions of a module's types, and the methods and fields of its
// classes.
func promises(types string) (names []string) {
	for _, m := range regexp.MustCompile(`export function (\w+)`).FindAllStringSubmatch(types, -1) {
		names = append(names, m[1])
	}
	for _, class := range regexp.MustCompile(`(?s)export class [^{\n]*\{\n(.*?)\n\}`).FindAllStringSubmatch(types, -1) {
		for _, m := range regexp.MustCompile(`(?m)^  (?:readonly )?(\w+)\??[(:]`).FindAllStringSubmatch(class[1], -1) {
			names = append(names, m[1])
		}
	}
	return names
}
