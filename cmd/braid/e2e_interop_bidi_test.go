package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// firefox is one Firefox with a profile of its own, driven by WebDriver BiDi
// (https://w3c.github.io/webdriver-bidi/). Its camera is a colour that changes,
// its microphone a tone. It ends with the test.
type firefox struct {
	t       testing.TB
	story   *story
	conn    *websocket.Conn
	process *exec.Cmd
	exited  chan struct{} // closed when the process has ended
	read    chan struct{} // closed when conn is read to its end

	mu      sync.Mutex
	id      int                          // of the last command; guarded by mu
	waiting map[int]chan json.RawMessage // commands without an answer; guarded by mu
	names   map[string]string            // browsing context → page; guarded by mu
}

// firefoxPrefs are what makes a real user's Firefox one that answers by itself:
// fake devices, no questions, sound without a click. Nothing here touches ICE:
// candidates and their mDNS names are as users have them.
//
// Debian's Firefox has no OpenH264 plug-in, which others download at their first
// start: the last three let its H.264 go through the system's FFmpeg ("1" is
// the status "OK" of a blocklist entry).
var firefoxPrefs = map[string]any{
	"media.navigator.streams.fake":                  true,
	"media.navigator.permission.disabled":           true,
	"media.autoplay.default":                        0,
	"gfx.blacklist.webrtc.hw.acceleration.h264":     1,
	"media.webrtc.hw.h264.enabled":                  true,
	"media.navigator.mediadatadecoder_h264_enabled": true,
}

func startFirefox(t testing.TB) *firefox {
	t.Helper()
	program := ""
	for _, name := range []string{"firefox-esr", "firefox"} {
		if path, err := exec.LookPath(name); err == nil {
			program = path
			break
		}
	}
	if program == "" {
		t.Skip("Firefox is not installed: script/setup.sh test installs it")
	}
	profile, err := os.MkdirTemp("", "braid-firefox-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeAll(t, profile) })
	var prefs strings.Builder
	for name, value := range firefoxPrefs {
		text, _ := json.Marshal(value)
		fmt.Fprintf(&prefs, "user_pref(%q, %s);\n", name, text)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(prefs.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	f := &firefox{t: t, story: newStory(t), exited: make(chan struct{}), read: make(chan struct{}),
		waiting: map[int]chan json.RawMessage{}, names: map[string]string{}}
	f.process = exec.Command(program, "--headless", "--no-remote", "--profile", profile, "--remote-debugging-port", "0", "--width", "1280", "--height", "1000")
	f.process.Env = append(os.Environ(), "HOME="+profile, "MOZ_CRASHREPORTER_DISABLE=1")
	f.connect(f.start())
	return f
}

// removeAll removes a profile whose last writers may just be ending.
func removeAll(t testing.TB, dir string) {
	eventually(t, 10*time.Second, "remove "+dir, func() (bool, string) {
		err := os.RemoveAll(dir)
		return err == nil, fmt.Sprint(err)
	})
}

// start starts the process and gives the address that it prints.
func (f *firefox) start() (url string) {
	f.t.Helper()
	words, err := f.process.StderrPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := f.process.Start(); err != nil {
		f.t.Fatal(err)
	}
	found := make(chan string, 1)
	go func() {
		defer close(f.exited)
		lines := bufio.NewScanner(words)
		for lines.Scan() {
			if at, ok := strings.CutPrefix(lines.Text(), "WebDriver BiDi listening on "); ok {
				found <- at
			}
			fmt.Fprintf(f.story, "firefox: %s\n", lines.Text())
		}
		io.Copy(io.Discard, words) // a line too long for the scanner
		f.process.Wait()
	}()
	f.t.Cleanup(f.close)
	select {
	case url = <-found:
	case <-f.exited:
		f.t.Fatal("Firefox ended at its start")
	case <-time.After(60 * time.Second):
		f.t.Fatal("Firefox does not listen within 60 s")
	}
	return url
}

func (f *firefox) connect(url string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, url+"/session", nil)
	if err != nil {
		f.t.Fatal(err)
	}
	conn.SetReadLimit(-1) // screenshots
	f.conn = conn
	go f.listen()
	if err := f.do(ctx, "session.new", object{"capabilities": object{}}, nil); err != nil {
		f.t.Fatal(err)
	}
	if err := f.do(ctx, "session.subscribe", object{"events": []string{"log.entryAdded"}}, nil); err != nil {
		f.t.Fatal(err)
	}
}

// close asks Firefox to end, and makes it.
func (f *firefox) close() {
	if f.conn != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		f.do(ctx, "browser.close", object{}, nil)
		cancel()
	}
	select {
	case <-f.exited:
	case <-time.After(10 * time.Second):
		f.process.Process.Kill()
		<-f.exited
	}
	if f.conn != nil {
		f.conn.CloseNow()
		<-f.read
	}
}

type object = map[string]any

// listen hands answers to who waits for them and console lines to the story. It
// ends with the connection.
func (f *firefox) listen() {
	defer close(f.read)
	for {
		_, b, err := f.conn.Read(context.Background())
		if err != nil {
			f.mu.Lock()
			for id, c := range f.waiting {
				close(c)
				delete(f.waiting, id)
			}
			f.mu.Unlock()
			return
		}
		var m struct {
			ID     *int
			Method string
			Params struct {
				Text, Level string
				Source      struct{ Context string }
			}
		}
		if err := json.Unmarshal(b, &m); err != nil {
			fmt.Fprintf(f.story, "firefox: %v in %.200s\n", err, b)
			continue
		}
		f.mu.Lock()
		if m.ID != nil && f.waiting[*m.ID] != nil {
			f.waiting[*m.ID] <- b
			delete(f.waiting, *m.ID)
		}
		name := f.names[m.Params.Source.Context]
		f.mu.Unlock()
		if m.Method == "log.entryAdded" {
			fmt.Fprintf(f.story, "%s %s: %s: %s\n", time.Now().Format("15:04:05.000"), name, m.Params.Level, m.Params.Text)
		}
	}
}

// do runs a command and reads its result into out, when that is not nil.
func (f *firefox) do(ctx context.Context, method string, params, out any) error {
	answer := make(chan json.RawMessage, 1)
	f.mu.Lock()
	f.id++
	id := f.id
	f.waiting[id] = answer
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		delete(f.waiting, id)
		f.mu.Unlock()
	}()
	b, err := json.Marshal(object{"id": id, "method": method, "params": params})
	if err != nil {
		return err
	}
	if err := f.conn.Write(ctx, websocket.MessageText, b); err != nil {
		return fmt.Errorf("firefox: %s: %w", method, err)
	}
	select {
	case <-ctx.Done():
		return fmt.Errorf("firefox: %s: %w", method, ctx.Err())
	case b, ok := <-answer:
		if !ok {
			return fmt.Errorf("firefox: %s: the connection has ended", method)
		}
		var m struct {
			Error, Message string
			Result         json.RawMessage
		}
		if err := json.Unmarshal(b, &m); err != nil {
			return err
		}
		if m.Error != "" {
			return fmt.Errorf("firefox: %s: %s: %s", method, m.Error, m.Message)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(m.Result, out)
	}
}

// firefoxTab is what a page of Firefox is driven by.
type firefoxTab struct {
	*firefox
	context string // BiDi's name of the tab
}

// open opens a tab.
func (f *firefox) open(name, url string) *page {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	var made struct{ Context string }
	if err := f.do(ctx, "browsingContext.create", object{"type": "tab"}, &made); err != nil {
		f.t.Fatal(err)
	}
	f.mu.Lock()
	f.names[made.Context] = name
	f.mu.Unlock()
	if err := f.do(ctx, "browsingContext.navigate", object{"context": made.Context, "url": url, "wait": "complete"}, nil); err != nil {
		f.t.Fatalf("%s: open %s: %v", name, url, err)
	}
	return &page{t: f.t, ctx: context.Background(), name: name, fire: &firefoxTab{f, made.Context}}
}

// eval runs the body of an async function and reads what it returns into out.
func (tab *firefoxTab) eval(ctx context.Context, js string, out any) error {
	var r struct {
		Type             string
		Result           struct{ Value string }
		ExceptionDetails struct{ Text string }
	}
	err := tab.do(ctx, "script.evaluate", object{
		"expression":      "(async () => JSON.stringify((await (async () => {" + js + "})()) ?? null))()",
		"target":          object{"context": tab.context},
		"awaitPromise":    true,
		"userActivation":  true,
		"resultOwnership": "none",
	}, &r)
	if err != nil {
		return err
	}
	if r.Type != "success" {
		return errors.New(r.ExceptionDetails.Text)
	}
	return json.Unmarshal([]byte(r.Result.Value), out)
}

// screenshot gives the tab's picture as PNG.
func (tab *firefoxTab) screenshot(ctx context.Context) ([]byte, error) {
	var r struct{ Data string }
	if err := tab.do(ctx, "browsingContext.captureScreenshot", object{"context": tab.context}, &r); err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(r.Data)
}

// shut closes the tab as its user does.
func (tab *firefoxTab) shut(ctx context.Context) error {
	return tab.do(ctx, "browsingContext.close", object{"context": tab.context}, nil)
}
