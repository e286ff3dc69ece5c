package main

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// axe-core (MPL-2.0) is fetched from the registry, kept in the user's cache, and
// taken only when it is exactly this file.
const (
	axeVersion = "axe-core@4.14.1"
	axeSHA256  = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
)

// axeCore is the source of axe-core; it skips the test where it cannot be had.
func axeCore(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	file := filepath.Join(cache, "braid-test", "axe-"+axeSHA256[:16]+".js")
	source, err := os.ReadFile(file)
	if err != nil {
		source = fetchAxe(t)
	}
	sum := sha256.Sum256(source)
	if got := hex.EncodeToString(sum[:]); got != axeSHA256 {
		t.Fatalf("%s: axe.min.js has the SHA-256 %s, want %s", axeVersion, got, axeSHA256)
	}
	if os.MkdirAll(filepath.Dir(file), 0o755) == nil {
		_ = os.WriteFile(file, source, 0o644) // without it the next run fetches again
	}
	return string(source)
}

func fetchAxe(t *testing.T) []byte {
	t.Helper()
	if _, err := exec.LookPath("npm"); err != nil {
		t.Skip("npm is not installed, so axe-core cannot be fetched: accessibility is not checked")
	}
	dir := t.TempDir()
	if _, complaints, err := tryCommand(time.Minute, "npm", "pack", "--silent", "--pack-destination", dir, axeVersion); err != nil {
		t.Skipf("npm pack %s: %v: accessibility is not checked\n%s", axeVersion, err, tail(complaints, 500))
	}
	command(t, time.Minute, "tar", "-xzf", filepath.Join(dir, "axe-core-4.14.1.tgz"), "-C", dir, "package/axe.min.js")
	source, err := os.ReadFile(filepath.Join(dir, "package/axe.min.js"))
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// violation is a rule of WCAG 2.2 AA, or of axe's own good practice, that a page breaks.
type violation struct {
	ID     string   `json:"id"`
	Impact string   `json:"impact"`
	Help   string   `json:"help"`
	Nodes  []string `json:"nodes"`
}

// accessible fails on what axe calls serious or critical; without axe it does nothing.
func (p *page) accessible(axe, where string) {
	p.t.Helper()
	if axe == "" {
		return
	}
	if !eval[bool](p, "return !!window.axe") {
		if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[bool](axe+"\n;true")); err != nil {
			p.t.Fatalf("axe-core: %v", err)
		}
	}
	for _, v := range eval[[]violation](p, `
		await Promise.all(document.getAnimations().map((a) => a.effect.getComputedTiming().iterations === Infinity ? null : a.finished.catch(() => {})));
		const { violations } = await axe.run(document, { resultTypes: ['violations'] });
		return violations.map((v) => ({ id: v.id, impact: v.impact, help: v.help, nodes: v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + ' ' + (n.any[0]?.message ?? '')) }))`) {
		if v.Impact == "serious" || v.Impact == "critical" {
			p.t.Errorf("%s: %s (%s): %s\n%q", where, v.ID, v.Impact, v.Help, v.Nodes)
		} else {
			p.t.Logf("%s: %s (%s): %s %q", where, v.ID, v.Impact, v.Help, v.Nodes)
		}
	}
}
