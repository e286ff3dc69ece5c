package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"braid/mixer/wire"
)

// build makes the program.
func build(t *testing.T) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "braid-mixer")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return bin
}

// start runs the program as the server does: one end of a socket pair is
// descriptor 3.
func start(t *testing.T, bin string) (cmd *exec.Cmd, sock net.Conn, stderr *bytes.Buffer) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "server"), os.NewFile(uintptr(fds[1]), "worker")
	defer ours.Close()
	defer theirs.Close()
	if sock, err = net.FileConn(ours); err != nil {
		t.Fatal(err)
	}
	stderr = new(bytes.Buffer)
	cmd = exec.Command(bin, "-fd", "3")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Env = []string{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, sock, stderr
}

// ends waits for the program.
func ends(t *testing.T, cmd *exec.Cmd) error {
	t.Helper()
	kill := time.AfterFunc(20*time.Second, func() {
		t.Error("the program does not end")
		cmd.Process.Kill()
	})
	defer kill.Stop()
	return cmd.Wait()
}

func TestProgram(t *testing.T) {
	bin := build(t)
	cmd, sock, stderr := start(t, bin)
	conn := wire.NewConn(sock)
	sock.SetDeadline(time.Now().Add(20 * time.Second))
	for _, m := range []any{
		&wire.Hello{Version: wire.Version, Elapsed: time.Minute},
		&wire.Hello{Version: wire.Version, Elapsed: time.Hour}, // the newest counts
		&wire.OpenMix{Output: 1, Encode: wire.Encode{Width: 64, Height: 64, FPS: 30, SampleRate: 48000, Channels: 2}},
		&wire.Layout{Output: 1, Revision: 3},
		&wire.OpenTranscode{Output: 2, Input: 5},
	} {
		if err := conn.Write(m); err != nil {
			t.Fatal(err)
		}
	}
	pictures, sounds, failed := 0, 0, 0
	for pictures < 5 || sounds < 5 || failed < 1 {
		msg, err := conn.Read()
		if err != nil {
			t.Fatal(err)
		}
		switch m := msg.(type) {
		case *wire.Output:
			if m.PTS < time.Hour || m.PTS > time.Hour+time.Minute {
				t.Fatalf("PTS %v, want the server's time", m.PTS)
			}
			if m.Codec.Video() {
				pictures++
			} else {
				sounds++
			}
		case *wire.Failed:
			failed++
		}
	}
	sock.Close()
	if err := ends(t, cmd); err != nil {
		t.Errorf("after the socket closed: %v", err)
	}
	if log := stderr.String(); !strings.HasPrefix(log, `{"time":`) || !strings.Contains(log, "input 5: not found") {
		t.Errorf("log is %q, want a JSON line about input 5", log)
	}

	cmd, sock, stderr = start(t, bin)
	defer sock.Close()
	if err := wire.NewConn(sock).Write(&wire.KeyFrame{Output: 1}); err != nil {
		t.Fatal(err)
	}
	if err := ends(t, cmd); err == nil || !strings.Contains(stderr.String(), "want Hello") {
		t.Errorf("nonsense: got %v, %q", err, stderr.String())
	}

	out, err := exec.Command(bin, "-version").Output()
	if err != nil || !strings.HasPrefix(string(out), "braid-mixer ") {
		t.Errorf("-version: %q, %v", out, err)
	}
	if out, err := exec.Command(bin).CombinedOutput(); err == nil {
		t.Errorf("without a socket: no error, %q", out)
	}
}
