package callback

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"braid/internal/testkit"
	"braid/store"
)

// example gives the code of doc/callbacks.md in a language.
func example(t *testing.T, language string) string {
	t.Helper()
	doc, err := os.ReadFile("../doc/callbacks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, code, ok := strings.Cut(string(doc), "```"+language+"\n")
	code, _, end := strings.Cut(code, "```\n")
	if !ok || !end {
		t.Fatalf("the document has no example in %s", language)
	}
	return code
}

// TestExamples runs the receivers of doc/callbacks.md: they take what is sent,
// and refuse what is signed with another key.
func TestExamples(t *testing.T) {
	t.Run("go", func(t *testing.T) {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "main.go"), example(t, "go"))
		write(t, filepath.Join(dir, "go.mod"), "module receiver\n\ngo 1.26\n")
		build := exec.Command("go", "build", "-o", "receiver", ".")
		build.Dir = dir
		build.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		tryExample(t, filepath.Join(dir, "receiver"))
	})
	t.Run("node", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("node is not there")
		}
		file := filepath.Join(t.TempDir(), "receiver.mjs")
		write(t, file, example(t, "js"))
		tryExample(t, node, file)
	})
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func tryExample(t *testing.T, command ...string) {
	db := open(t)
	var secret string
	update(t, db, func(tx *store.Tx) error {
		app, err := tx.Application(testApp)
		secret = app.Signing.Current
		return err
	})
	lines := run(t, append(os.Environ(), "SECRET="+secret, "LISTEN=127.0.0.1:0", "HOST=127.0.0.1", "PORT=0"), command...)
	address, ok := strings.CutPrefix(<-lines, "listening on ")
	if !ok {
		t.Fatal("the receiver does not say where it listens")
	}
	s, _ := start(t, db, Config{FirstRetry: time.Hour, MaxRetry: time.Hour})
	subscribe(t, s, testApp, "http://"+address+"/braid")
	add(t, db, role("room", 1))
	var got roomMessage
	text, _ := strings.CutPrefix(<-lines, "message ")
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Contents[0].UserEvent.UserId != "u1" {
		t.Fatalf("the receiver printed %q: %v", text, err)
	}
	testkit.Eventually(t, "a record", func() bool { return len(records(t, s, store.RecordQuery{})) == 1 })
	if err := s.Resend(t.Context(), testApp, got.MsgId); err != nil { // known: taken, not printed
		t.Fatal(err)
	}
	testkit.Eventually(t, "a record", func() bool { return len(records(t, s, store.RecordQuery{})) == 2 })

	update(t, db, func(tx *store.Tx) error {
		app, err := tx.Application(testApp)
		if err != nil {
			return err
		}
		app.Signing = app.Signing.Rotate(NewSecret(), time.Hour, time.Now()) // the old key still signs
		return tx.UpdateApplication(&app)
	})
	add(t, db, role("room", 2))
	if text := <-lines; !strings.Contains(text, `"UserId":"u2"`) {
		t.Fatalf("while the key rotates the receiver printed %q", text)
	}
	update(t, db, func(tx *store.Tx) error {
		app, err := tx.Application(testApp)
		if err != nil {
			return err
		}
		app.Signing = app.Signing.Rotate(NewSecret(), 0, time.Now())
		return tx.UpdateApplication(&app)
	})
	add(t, db, role("room", 3))
	testkit.Eventually(t, "a record", func() bool { return len(records(t, s, store.RecordQuery{})) == 4 })
	var codes []int
	for _, r := range records(t, s, store.RecordQuery{}) {
		codes = append(codes, r.Code)
	}
	if want := []int{401, 204, 204, 204}; codes[0] != want[0] || codes[1] != want[1] || codes[2] != want[2] || codes[3] != want[3] {
		t.Errorf("the answers were %v, newest first; want %v", codes, want)
	}
}

// run starts a program that is killed at the end of the test, and gives the
// lines that it prints.
func run(t *testing.T, env []string, command ...string) <-chan string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = env
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan string, 16) // closed when the program has ended
	go func() {
		defer close(lines)
		for in := bufio.NewScanner(out); in.Scan(); {
			lines <- in.Text()
		}
	}()
	t.Cleanup(func() {
		cancel()
		cmd.Wait()
	})
	return lines
}

// TestTables: the document's tables name what the code sends.
func TestTables(t *testing.T) {
	doc, err := os.ReadFile("../doc/callbacks.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range eventTags {
		if !regexp.MustCompile(`(?m)^\|[^|]*\b` + tag + `\b[^|]*\|`).Match(doc) {
			t.Errorf("EventTag %s is not in a table", tag)
		}
	}
	for _, failure := range []string{"timeout", "refused", "dns", "tls", "forbidden", "status", "lost"} {
		if !strings.Contains(string(doc), "\n| "+failure+" |") {
			t.Errorf("failure %s is not in a table", failure)
		}
	}
}
