// Package s3test runs a real S3 server for tests: Versity's gateway over a
// directory, from the module testdata/s3.
package s3test

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"braid/origin/storage"
)

// Server is one on loopback, with one bucket, whose data outlive a Stop.
type Server struct {
	t       testing.TB
	program string
	dir     string
	addr    string
	cmd     *exec.Cmd // nil: it does not run
	log     string
}

const (
	bucket = "media"
	access = "braid-test"
	secret = "braid-test-secret"
	region = "eu-test-1"
)

// build makes the program in the user's cache directory, in place of the last one.
var build = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	program := filepath.Join(cache, "braid-test", "versitygw")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		return "", err
	}
	next := fmt.Sprint(program, ".", os.Getpid()) // other tests may run the last one
	cmd := exec.Command("go", "build", "-o", next, "github.com/versity/versitygw/cmd/versitygw")
	cmd.Dir = filepath.Join(filepath.Dir(here), "../../../testdata/s3")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the S3 server: %w\n%s", err, out)
	}
	return program, os.Rename(next, program)
})

// New prepares a server that does not run yet. It is skipped in -short: the first
// build takes minutes.
func New(t testing.TB) *Server {
	t.Helper()
	if testing.Short() {
		t.Skip("builds an S3 server: not in -short")
	}
	program, err := build()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &Server{t: t, program: program, dir: t.TempDir(), addr: l.Addr().String()}
	s.log = filepath.Join(s.dir, "log")
	if err := os.MkdirAll(filepath.Join(s.dir, "data", bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Config is how to reach it.
func (s *Server) Config(prefix string) storage.S3Config {
	return storage.S3Config{Endpoint: "http://" + s.addr, Bucket: bucket, Region: region, AccessKey: access, SecretKey: secret,
		Prefix: prefix, PathStyle: true}
}

// Start returns when the server answers.
func (s *Server) Start() {
	s.t.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	s.cmd = exec.Command(s.program, "--port", s.addr, "--access", access, "--secret", secret, "--region", region, "posix", filepath.Join(s.dir, "data"))
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); <-tick.C {
		if c, err := net.Dial("tcp", s.addr); err == nil {
			c.Close()
			return
		}
	}
	said, _ := os.ReadFile(s.log)
	s.t.Fatalf("the S3 server does not listen:\n%s", said)
}

// Stop kills the server; it may be called when none runs.
func (s *Server) Stop() {
	if s.cmd != nil {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		s.cmd = nil
	}
}
