package main

import (
	"bytes"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// TestMigrateManual runs the commands of doc/migrate-from-artc.md as they
// stand, the last ones after the application has left the config file.
func TestMigrateManual(t *testing.T) {
	for _, program := range []string{"bash", "curl", "openssl"} {
		need(t, program)
	}
	text, err := os.ReadFile("../../doc/migrate-from-artc.md")
	if err != nil {
		t.Fatal(err)
	}
	var blocks []string
	for _, b := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		blocks = append(blocks, b[1])
	}
	if len(blocks) < 3 {
		t.Fatalf("doc/migrate-from-artc.md has %d blocks of commands", len(blocks))
	}
	s := newProcess(t, "")
	s.start()
	run := func(blocks []string, want ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash")
		cmd.Stdin = strings.NewReader("set -eu -o pipefail\n" + strings.Join(blocks, "\n"))
		cmd.Env = append(os.Environ(), "BRAID="+s.http, "TOKEN="+adminToken, "APP="+testApp,
			"RECEIVER="+newReceiver(t, 0).url, "INGEST="+strings.TrimSuffix(s.rtmp, "/live"))
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("the commands: %v\n%s", err, out)
		}
		for _, w := range want {
			if !bytes.Contains(out, []byte(w)) {
				t.Errorf("nothing printed has %s:\n%s", w, out)
			}
		}
	}
	last := len(blocks) - 1
	run(blocks[:last], `"app_key":{"current":"`+testKey+`"}`, `"kind":"room"`, `"kind":"mpu"`, `"signed":true`, `"mix":true`, `"kind":"call"`)

	s.end(syscall.SIGTERM)
	config, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	config = regexp.MustCompile(`(?m)^applications:.*\n`).ReplaceAll(config, nil)
	if err := os.WriteFile(s.config, config, 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	run([]string{blocks[0], blocks[last]}, `"previous":"`+testKey+`"`, `"tokens":"jwt"`)
}
