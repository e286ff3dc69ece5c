package main

import (
	"bufio"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestOfficialSDKs runs the module testdata/sdk, in which Alibaba Cloud's own
// SDKs call every action, against a server with two publishers in a channel.
func TestOfficialSDKs(t *testing.T) {
	s := startBraid(t)
	ann := clip{ID: 41, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 440}
	bob := clip{ID: 42, W: 640, H: 360, FPS: 30, Seconds: 10, Tone: 660}
	s.publish("sdk", "ann", ann.make(t), ann.FPS, "h264")
	s.publish("sdk", "bob", bob.make(t), bob.FPS, "h264")

	run := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-timeout", "10m", "./...")
	run.Dir = "../../testdata/sdk"
	run.WaitDelay = 10 * time.Second
	run.Env = append(run.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off",
		"BRAID_ENDPOINT="+strings.TrimPrefix(s.http, "http://"), "BRAID_RTMP="+s.rtmp,
		"BRAID_ACCESS_KEY_ID="+accessID, "BRAID_ACCESS_KEY_SECRET="+accessCode, "BRAID_APP="+testApp,
		"BRAID_CHANNEL=sdk", "BRAID_USERS=ann,bob")
	said, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	run.Stderr = run.Stdout // go's own words: what it downloads, what does not compile
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	skipped := false
	lines := bufio.NewScanner(said)
	lines.Buffer(nil, 16<<20) // an answer may be in a line
	for lines.Scan() {
		if line := lines.Text(); !strings.HasPrefix(line, "=== ") {
			t.Log(line)
			skipped = skipped || strings.Contains(line, "--- SKIP")
		}
	}
	if err := run.Wait(); err != nil {
		t.Errorf("the SDKs' tests: %v", err)
	}
	if skipped {
		t.Error("one of the SDKs' tests was skipped")
	}
}
