package admin

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"braid/callback"
)

// The examples of doc/rest.md run as they stand, and every route is in it.
func TestManual(t *testing.T) {
	text, err := os.ReadFile("../../doc/rest.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"bash", "curl", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the examples need %s", program)
		}
	}
	s := startWith(t, true, callback.Config{}) // curl has the real clock
	script := "set -eu -o pipefail\n"
	blocks := regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllSubmatch(text, -1)
	for _, b := range blocks {
		script += string(b[1])
	}
	cmd := exec.CommandContext(t.Context(), "bash")
	cmd.Stdin = strings.NewReader(script)
	cmd.Env = append(os.Environ(), "BRAID="+s.url, "TOKEN="+adminToken, "KEY_ID=testid", "KEY_SECRET=testsecret")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the examples: %v\n%s", err, out)
	}
	for _, want := range []string{"whsec_", `"token":"ey`, `"name":"Voice chat, Asia"`, `"previous_until"`, `"auth_key":"fedcba654321"`, `"kind":"relay"`, `"more":false`} {
		if !bytes.Contains(out, []byte(want)) {
			t.Errorf("%d examples printed nothing with %s:\n%s", len(blocks), want, out)
		}
	}
	if left := s.do("GET", "/v1/applications", nil).ids("name"); len(left) != 1 || left[0] != "Made once" {
		t.Errorf("at the end there are the applications %v, want the one that was made once", left)
	}
	for _, rt := range s.handler.routes {
		last := rt.pattern[strings.LastIndex(rt.pattern, "/")+1:]
		if !bytes.Contains(text, []byte(last)) {
			t.Errorf("doc/rest.md does not have %s %s", rt.method, rt.pattern)
		}
	}
}
