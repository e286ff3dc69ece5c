package srt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/media"
)

// freePort is a UDP port that was free a moment ago.
func freePort(t testing.TB) int {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	return pc.LocalAddr().(*net.UDPAddr).Port
}

// transport is a transport stream of some seconds, made by ffmpeg.
func transport(t testing.TB, seconds int) []byte {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("no ffmpeg")
	}
	out, err := exec.Command("ffmpeg", "-v", "error", "-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=320x180:rate=25:duration=%d", seconds),
		"-c:v", "libx264", "-preset", "ultrafast", "-b:v", "2000k", "-g", "25", "-f", "mpegts", "-").Output()
	if err != nil || len(out)%188 != 0 {
		t.Fatalf("ffmpeg: %v, %d bytes", err, len(out))
	}
	return out
}

// listener is an ffmpeg that writes what an SRT caller sends into a file.
type listener struct {
	cmd  *exec.Cmd
	file string
	log  bytes.Buffer
}

func startFFmpeg(t testing.TB, query string) (url string, l *listener) {
	t.Helper()
	port := freePort(t)
	l = &listener{file: filepath.Join(t.TempDir(), "out.ts")}
	l.cmd = exec.Command("ffmpeg", "-v", "error", "-y", "-f", "mpegts", "-i", fmt.Sprintf("srt://127.0.0.1:%d?mode=listener%s", port, query), "-c", "copy", l.file)
	l.cmd.Stderr = &l.log
	if err := l.cmd.Start(); err != nil {
		t.Skip("ffmpeg does not start: ", err)
	}
	t.Cleanup(func() {
		_ = l.cmd.Process.Kill()
		_ = l.cmd.Wait()
	})
	return fmt.Sprintf("srt://127.0.0.1:%d", port), l
}

// dial tries until the listener is there.
func dial(t testing.TB, url string) (p *Publisher, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		p, err = Dial(ctx, url, Options{})
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return p, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no listener within 20 s")
		}
	}
}

// What is sent is what ffmpeg writes, plain and encrypted with keys of each length.
func TestFFmpegListener(t *testing.T) {
	ts := transport(t, 4)
	for _, c := range []struct{ name, listen, call string }{
		{"plain", "", "?streamid=abc"},
		{"AES-128", "&passphrase=" + secret, "?latency=120&passphrase=" + secret},
		{"AES-256", "&passphrase=" + secret, "?pbkeylen=32&passphrase=" + secret},
		{"the listener's key length", "&pbkeylen=24&passphrase=" + secret, "?passphrase=" + secret},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			url, l := startFFmpeg(t, c.listen)
			p, err := dial(t, url+c.call)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Write(ts); err != nil {
				t.Fatal(err)
			}
			p.Close()
			if err := p.Write(ts[:188]); err == nil {
				t.Error("Write after Close: no error")
			}
			if err := l.cmd.Wait(); err != nil {
				t.Fatalf("ffmpeg: %v\n%s", err, l.log.String())
			}
			if got := pictures(t, l.file); got < 99 {
				t.Errorf("%d pictures of 100\n%s", got, l.log.String())
			}
			decodes(t, l.file)
		})
	}
}

// A wrong passphrase, and none where one is wanted, are refused in words.
func TestFFmpegRefuses(t *testing.T) {
	for _, c := range []struct{ name, listen, call string }{
		{"wrong passphrase", "&passphrase=" + secret, "?passphrase=anotherone1"},
		{"no passphrase", "&passphrase=" + secret, ""},
		{"a passphrase that nobody asked for", "", "?passphrase=" + secret},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			url, _ := startFFmpeg(t, c.listen)
			p, err := dial(t, url+c.call)
			if err == nil {
				p.Close()
			}
			var r *RejectedError
			if !errors.As(err, &r) || r.Reason == "" || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, want a refusal in words", err)
			}
		})
	}
}

// A listener that stops is found within 10 s, one that dies at once.
func TestFFmpegStopsAndDies(t *testing.T) {
	ts := transport(t, 1)
	for _, c := range []struct {
		name string
		sig  os.Signal
		want error
	}{
		{"killed", syscall.SIGKILL, nil},
		{"stopped", syscall.SIGSTOP, media.ErrStalled},
	} {
		t.Run(c.name, func(t *testing.T) {
			testkit.NoLeaks(t)
			url, l := startFFmpeg(t, "")
			p, err := dial(t, url)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			if err := p.Write(ts); err != nil {
				t.Fatal(err)
			}
			if err := l.cmd.Process.Signal(c.sig); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			for err == nil && time.Since(start) < 20*time.Second {
				err = p.Write(ts[:188*7*20])
			}
			if d := time.Since(start); err == nil || d > 10*time.Second {
				t.Errorf("found after %v: %v", d, err)
			}
			if c.want != nil && !errors.Is(err, c.want) || c.want == nil && errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}
