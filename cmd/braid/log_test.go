package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestLogLevels(t *testing.T) {
	var out bytes.Buffer
	log, levels, err := newLog(&out, logConfig{Format: "json", Level: "info", Levels: map[string]string{"sfu": "debug", "relay": "error"}})
	if err != nil {
		t.Fatal(err)
	}
	media, relay := log.With("part", "sfu").With("session", "1"), log.With("part", "relay", "app", "a")
	say := func() string {
		out.Reset()
		for name, l := range map[string]*slog.Logger{"plain": log, "sfu": media, "relay": relay} {
			l.Debug(name + " debug")
			l.Info(name + " info")
			l.Error(name + " error")
		}
		var said []string
		for line := range strings.Lines(out.String()) {
			var m struct{ Msg, Level, Part, Time string }
			if err := json.Unmarshal([]byte(line), &m); err != nil || m.Time == "" {
				t.Fatalf("%q: %v", line, err)
			}
			said = append(said, m.Msg)
		}
		return strings.Join(said, ", ")
	}
	for _, want := range []struct{ has, hasNot string }{
		{"sfu debug", "relay info"}, {"plain info", "plain debug"}, {"relay error", "relay debug"},
	} {
		if got := say(); !strings.Contains(got, want.has) || strings.Contains(got, want.hasNot) {
			t.Errorf("got %q, want %q and not %q", got, want.has, want.hasNot)
		}
	}
	if err := levels.set("loud", nil); err == nil || !strings.Contains(err.Error(), `level: "loud" is not debug`) {
		t.Errorf("got %v", err)
	}
	if err := levels.set("debug", map[string]string{"engine": "info"}); err == nil || !strings.Contains(err.Error(), `"engine" is none of the parts`) {
		t.Errorf("got %v", err)
	}
	if level, parts := levels.get(); level != "info" || len(parts) != 2 || parts["sfu"] != "debug" {
		t.Errorf("a refused change has changed the levels to %s, %v", level, parts)
	}
	if err := levels.set("error", nil); err != nil {
		t.Fatal(err)
	}
	if got := say(); strings.Contains(got, "info") || strings.Contains(got, "debug") {
		t.Errorf("loggers that were made before go on with %q", got)
	}
}

// secretTexts are lines and what must not be in the log of them, with what should.
var secretTexts = []struct{ line, gone, stays string }{
	{"push to rtmp://a.rtmp.example.com/live2/abcd-efgh-secret failed", "efgh-secret", "a.rtmp.example.com"},
	{`dial "rtmps://u:pw@live.example.com:443/app/streamkey?auth_key=1700000000-0-0-0123456789abcdef0123456789abcdef"`, "streamkey", "live.example.com"},
	{"srt://host.example:9000?streamid=publish:room:pass&passphrase=verysecretpass", "verysecretpass", "host.example:9000"},
	{"rtmp://127.0.0.1:1935 listens", "***", "rtmp://127.0.0.1:1935 listens"},
	{"GET /live/a.flv?auth_key=1700000000-0-0-0123456789abcdef0123456789abcdef&x=1", "0123456789abcdef", "x=1"},
	{"bad 1700000000-r4nd-0-0123456789abcdef0123456789abcdef in URL", "0123456789abcdef", "in URL"},
	{"Authorization: Bearer abcDEF123.-_~+/=", "abcDEF123", "Bearer"},
	{`{"token":"eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln","user":"ann"}`, "eyJzdWIiOiJhIn0", `"user":"ann"`},
	{"join with eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", "eyJzdWIiOiJhIn0", "join with"},
	{"signing_key whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKY", "signing_key"},
	{"postgres://braid:hunter2hunter2@db/braid", "hunter2", "db/braid"},
	{"password = correct-horse", "correct-horse", "password"},
	{"the configured one is canary-known-secret.", "canary-known-secret", "the configured one"},
	{"nothing to hide at https://example.com/a?b=c", "***", "https://example.com/a?b=c"},
	{"key frame asked for, monkey: 5, keys=3", "***", "monkey: 5, keys=3"},
}

func TestRedactor(t *testing.T) {
	r := newRedactor([]string{"canary-known-secret", "short", ""})
	for _, tt := range secretTexts {
		got := r.text(tt.line)
		if strings.Contains(got, tt.gone) || !strings.Contains(got, tt.stays) {
			t.Errorf("%s\nbecame %s\nwant %q there, %q gone", tt.line, got, tt.stays, tt.gone)
		}
		if again := r.text(got); again != got {
			t.Errorf("%s\ntwice: %s", got, again)
		}
	}
	for _, format := range []string{"text", "json"} {
		var out bytes.Buffer
		log, _, err := newLog(&out, logConfig{Format: format, Level: "info"}, "canary-known-secret")
		if err != nil {
			t.Fatal(err)
		}
		log.With("app_key", "planted-1").Error("at rtmp://h/app/planted-2", "err", fmt.Errorf("lost: %w", errors.New("token=planted-3")),
			"token", "planted-4", "urls", []string{"rtmp://h/app/planted-5"}, "any", struct{ Auth string }{"Bearer planted-6"},
			"n", 5, "who", "canary-known-secret", slog.Group("in", "secret", "planted-7", "url", "http://u:planted-8@h/"))
		if got := out.String(); strings.Contains(got, "planted") && !strings.Contains(got, "pla***") || strings.Contains(got, "planted-") || strings.Contains(got, "canary") {
			t.Errorf("%s: %s", format, got)
		}
		if !strings.Contains(out.String(), "n=5") && !strings.Contains(out.String(), `"n":5`) {
			t.Errorf("%s: what is no secret is gone too: %s", format, out.String())
		}
	}
}

func FuzzRedactor(f *testing.F) {
	for _, tt := range secretTexts {
		f.Add(tt.line)
	}
	r := newRedactor([]string{"canary-known-secret"})
	f.Fuzz(func(t *testing.T, line string) {
		if got := r.text(line + " canary-known-secret"); strings.Contains(got, "canary-known-secret") {
			t.Errorf("%q has the secret still", got)
		}
	})
}

func TestLogConfig(t *testing.T) {
	for want, c := range map[string]logConfig{
		"":                                     {Format: "json", Level: "warn", Levels: map[string]string{"sfu": "debug"}},
		`log.format: "xml" is not text`:        {Format: "xml", Level: "info"},
		`log.level: "all" is not debug`:        {Format: "text", Level: "all"},
		`log.levels: "tls2" is none of`:        {Format: "text", Level: "info", Levels: map[string]string{"tls2": "info"}},
		`log.levels.tls: "loud" is not debug,`: {Format: "text", Level: "info", Levels: map[string]string{"tls": "loud"}},
	} {
		err := c.check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", c, err, want)
		}
	}
}

// TestLogParts: each part that writes can be given a level.
func TestLogParts(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	found := 0
	for _, f := range files {
		if strings.HasSuffix(f, "_test.go") {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`With\("part", "([a-z]+)"`).FindAllSubmatch(b, -1) {
			found++
			if !slices.Contains(logParts, string(m[1])) {
				t.Errorf("%s: part %q is not in logParts", f, m[1])
			}
		}
	}
	if found < 10 {
		t.Errorf("only %d parts were found", found)
	}
}
