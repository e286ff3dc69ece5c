package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// spaceVar is set in the process that runs a test inside its own network.
const spaceVar = "BRAID_TEST_SPACE"

// spaceIP is the machine's address in there.
const spaceIP = "10.77.0.1"

// inSpace runs the calling test in a network namespace that has loopback and
// one ordinary address, and ends when it is made: stock Firefox and libnice
// never use loopback for media, and nothing of the test leaves the machine. It
// tells whether the caller is in there and shall go on; outside, the test has
// been run by a second process, whose words stand in the log.
func inSpace(t *testing.T) bool {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole server and its clients: not in -short")
	}
	if os.Getenv(spaceVar) != "" {
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	need(t, "ip")
	only := "^" + t.Name() + "$"
	if _, part, ok := strings.Cut(flag.Lookup("test.run").Value.String(), "/"); ok {
		only += "/" + part
	}
	args := []string{"-test.run=" + only, "-test.timeout=10m"}
	if testing.Verbose() {
		args = append(args, "-test.v")
	}
	run := exec.CommandContext(t.Context(), os.Args[0], args...)
	run.Env = append(os.Environ(), spaceVar+"=1")
	run.Stdout, run.Stderr = os.Stdout, os.Stderr
	run.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	run.WaitDelay = 10 * time.Second
	switch err := run.Run(); {
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.ENOSYS), errors.Is(err, syscall.EINVAL):
		t.Skipf("this machine makes no network namespace: %v", err)
	case err != nil:
		t.Errorf("inside: %v", err)
	}
	return false
}

// settle brings the namespace's interfaces up.
func settle(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"link", "add", "braid0", "type", "veth", "peer", "name", "braid1"},
		{"addr", "add", spaceIP + "/24", "dev", "braid0"},
		{"link", "set", "braid0", "up"},
		{"link", "set", "braid1", "up"},
		{"route", "add", "default", "dev", "braid0"}, // Firefox asks which address leads to the world
	} {
		if _, complaints, err := tryCommand(10*time.Second, "ip", args...); err != nil {
			t.Skipf("ip %v: %v %s", args, err, complaints)
		}
	}
}

// startSpaceBraid is startBraid with media on all addresses of the namespace,
// the ordinary one first, as a user's server has them.
func startSpaceBraid(t *testing.T) *braidServer {
	t.Helper()
	settle(t)
	return startBraid(t, func(c *config) { c.Media.Listen = ":0" })
}
