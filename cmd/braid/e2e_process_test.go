package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// adminToken opens the REST API of a server in these tests.
const adminToken = "e2e-admin-token-0123456789"

var buildServer = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "braid-server-")
	if err != nil {
		return "", err
	}
	program := filepath.Join(dir, "braid")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, ".")
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build braid: %w\n%s", err, out)
	}
	return program, nil
})

// process is braid as a process of its own, which can be killed and started
// again on the same ports and the same data.
type process struct {
	braidServer
	data    string
	program string
	config  string
	story   *story
	cmd     *exec.Cmd // nil: not running
}

// newProcess prepares one; more is YAML beside what every test needs.
func newProcess(t testing.TB, more string) *process {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a whole server and its clients: not in -short")
	}
	program, err := buildServer()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	http, rtmp, media := fmt.Sprint("127.0.0.1:", freePort(t)), fmt.Sprint("127.0.0.1:", freePort(t)), fmt.Sprint("127.0.0.1:", freePort(t))
	config := fmt.Sprintf("data_dir: %s\nhttp: {listen: %q}\nrtmp: {listen: %q}\nmedia: {listen: %q}\nmixer: {program: %s}\n"+
		"access_keys: [{id: %s, secret: %s}]\napplications: [{id: %s, key: %s}]\nadmin_tokens: [%s]\noutbound: {allow: [127.0.0.0/8]}\n%s",
		dir, http, rtmp, media, mixerProgram(t), accessID, accessCode, testApp, testKey, adminToken, more)
	p := &process{program: program, data: dir, config: filepath.Join(dir, "braid.yaml"), story: newStory(t)}
	p.braidServer = braidServer{t: t, http: "http://" + http, rtmp: "rtmp://" + rtmp + "/live"}
	if err := os.WriteFile(p.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.end(syscall.SIGTERM) })
	return p
}

// start starts the process and returns when it answers.
func (p *process) start() {
	p.t.Helper()
	p.cmd = exec.Command(p.program, "serve", "--config", p.config)
	p.cmd.Stderr, p.cmd.Stdout = p.story, p.story
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	address := p.http[len("http://"):]
	eventually(p.t, 20*time.Second, "the server listens", func() (bool, string) {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return false, err.Error()
		}
		c.Close()
		return true, ""
	})
}

// end sends a signal and waits for the process; its workers end with it.
func (p *process) end(signal syscall.Signal) {
	if p.cmd == nil {
		return
	}
	p.cmd.Process.Signal(signal)
	done := make(chan struct{})
	go func() { p.cmd.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		p.t.Error("the server does not end")
		p.cmd.Process.Kill()
		<-done
	}
	p.cmd = nil
}
