package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// npmFiles make the folder in which the npm clients are installed.
var npmFiles = []string{"package.json", "package-lock.json", "clients.js", "obs.mjs"}

// npmClients installs the clients of testdata/interop/npm, in exactly the
// versions of its lock file, into the user's cache, and gives the folder. It
// skips the test where there is no node, no npm or no registry.
func npmClients(t *testing.T) (dir string) {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: it is not needed otherwise, so script/setup.sh does not install it", program)
		}
	}
	sum := sha256.New()
	for _, name := range npmFiles {
		b, err := os.ReadFile("testdata/interop/npm/" + name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(sum, "%s %d\n%s", name, len(b), b)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	dir = filepath.Join(cache, "braid-test", "npm-"+hex.EncodeToString(sum.Sum(nil)[:8]))
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "making-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(work)
	for _, name := range npmFiles {
		b, err := os.ReadFile("testdata/interop/npm/" + name)
		if err == nil {
			err = os.WriteFile(filepath.Join(work, name), b, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	// No package's own script runs: what is needed is in the packages.
	if _, complaints, err := tryCommand(3*time.Minute, "npm", "ci", "--prefix", work, "--ignore-scripts", "--no-audit", "--no-fund"); err != nil {
		t.Skipf("npm ci: %v\n%s", err, tail(complaints, 500))
	}
	command(t, time.Minute, filepath.Join(work, "node_modules/.bin/esbuild"), filepath.Join(work, "clients.js"), "--bundle", "--format=iife", "--log-level=warning", "--outfile="+filepath.Join(work, "bundle.js"))
	if err := os.Rename(work, dir); err != nil {
		if _, statErr := os.Stat(dir); statErr != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestNPMClients: what others have written for WHIP and WHEP in the browser
// publishes and plays here, from a page of another origin.
func TestNPMClients(t *testing.T) {
	dir := npmClients(t)
	s := startBraid(t)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, `<!doctype html><meta charset="utf-8"><title>clients</title><body><script src="bundle.js"></script>`)
		case "/bundle.js":
			http.ServeFile(w, r, filepath.Join(dir, "bundle.js"))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	chrome := startChrome(t, people(t, 1)[0])
	for _, name := range []string{"whip-whep", "eyevinn"} {
		t.Run(name, func(t *testing.T) {
			s.t, chrome.t = t, t
			from, to := chrome.open("publisher", site.URL), chrome.open("viewer", site.URL)
			trickled := eval[bool](from, fmt.Sprintf(`window.session = await clients[%q].publish(%q, %q); return session.trickled !== false`,
				name, s.whip("npm", name), s.token("npm", name)))
			if !trickled {
				t.Error("the client believes that candidates cannot be trickled")
			}
			from.until(10*time.Second, "is connected", `session.pc.connectionState === 'connected'`)
			eval[bool](to, fmt.Sprintf(`sessions.v = await clients[%q].watch(%q, %q, 'v'); return true`, name, s.whep("npm", name), s.token("npm", "viewer")))
			to.plays("v", "vp8")
			if name == "whip-whep" {
				npmRestart(t, from, to)
			}
			eval[bool](to, `await sessions.v.stop(); return true`)
			eval[bool](from, `await session.stop(); return true`)
			s.gone("npm", name)
			s.gone("npm", "viewer")
		})
	}
	t.Run("libdatachannel", func(t *testing.T) {
		s.t = t
		c := clip{ID: 9, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
		obs := startForeign(t, "node", filepath.Join(dir, "obs.mjs"), "publish", s.whip("npm", "obs"), s.token("npm", "obs"), c.make(t).H264)
		obs.isConnected()
		s.call("StartLiveMPUTask", singleParams("obs", "npm", "obs", s.rtmp+"/obs"))
		file := pull(t, s.rtmp+"/obs", 3*time.Second)
		looks(t, file, 60)
		seen := 0
		for _, n := range readBarcodes(t, file, rect{0, 0, c.W, c.H}, [2]int{}, c.ID) {
			if n >= 0 {
				seen++
			}
		}
		if seen < 60 {
			t.Errorf("%d of the relayed pictures are the publisher's", seen)
		}
		s.call("StopLiveMPUTask", map[string]any{"TaskId": "obs"})
		obs.stop()
		s.gone("npm", "obs")
	})
	s.t = t
}

// npmRestart restarts the publisher's ICE by PATCH: the viewer sees on.
func npmRestart(t *testing.T, from, to *page) {
	t.Helper()
	ufrag := `session.pc.remoteDescription.sdp.match(/ice-ufrag:(.*)/)[1]`
	before := eval[string](from, "return "+ufrag)
	eval[bool](from, `await session.restart(); return true`)
	from.until(10*time.Second, "has new credentials and is connected", fmt.Sprintf(`%s !== %q && session.pc.connectionState === 'connected'`, ufrag, before))
	frames := to.received("v").Frames
	eventually(t, 10*time.Second, "the viewer sees on", func() (bool, string) {
		got := to.received("v")
		return got.Frames > frames+30, fmt.Sprintf("%+v", got)
	})
}
