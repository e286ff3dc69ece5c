package main

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
)

// TestConfigKinds: a value of another kind is named with its key and what the key wants.
func TestConfigKinds(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"callbacks: {timeout: 5}\n", "callbacks.timeout: 5 has no unit; write 5s for seconds, or 5m, or 5h"},
		{"callbacks: {timeout: \"5\"}\n", "callbacks.timeout: 5 has no unit; write 5s"},
		{"drain: 1.5\n", "drain: 1.5 has no unit; write 1.5s"},
		{"drain: 0\n", "drain: 0 has no unit; write 0s"},
		{"drain: 5 sec\n", `drain: "5 sec" is not a duration such as 500ms, 5s, 1m30s or 72h`},
		{"drain: ''\n", `drain: "" is not a duration`},
		{"drain: soon\n", `drain: "soon" is not a duration`},
		{"drain: true\n", "drain: true is not a duration"},
		{"drain: [5s]\n", "drain: a list is not a duration"},
		{"audit: {keep: 30d}\n", `audit.keep: "30d" has days, and hours are the largest unit; write 720h`},
		{"audit: {keep: 1 day}\n", "write 24h"},
		{"ice_servers: [{urls: [\"turn:a\"], secret: s, ttl: 60}]\n", "ice_servers[0].ttl: 60 has no unit"},
		{"debug: {flight_recorder: 10}\n", "debug.flight_recorder: 10 has no unit"},
		{"origin: {validity: 1800}\n", "origin.validity: 1800 has no unit"},
		{"storage: {min_free_mb: 64MB}\n", `storage.min_free_mb: "64MB" is not a whole number; write 64 without a unit`},
		{"storage: {min_free_mb: 64.5}\n", "storage.min_free_mb: 64.5 is not a whole number"},
		{"storage: {min_free_mb: 99999999999999999999}\n", "storage.min_free_mb: \"99999999999999999999\" is not a whole number"},
		{"mixer: {max_width: 1920px}\n", `mixer.max_width: "1920px" is not a whole number; write 1920 without a unit`},
		{"transcode: {cores: 50%}\n", `transcode.cores: "50%" is not a number; write 50 without a unit`},
		{"origin: {open: yes}\n", `origin.open: "yes" is not true or false`},
		{"demo: 1\n", "demo: 1 is not true or false"},
		{"data_dir: [a]\n", "data_dir: is not a text"},
		{"storage: {s3: {a: {endpoint: {b: c}}}}\n", "storage.s3.a.endpoint: is not a text"},
		{"outbound: {allow: [[10.0.0.0/8]]}\n", "outbound.allow[0]: is not a text"},
		{"x: &later {timeout: 5}\ncallbacks: *later\n", "callbacks.timeout: 5 has no unit"},
	} {
		_, err := readConfig(writeConfig(t, tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "Go ") {
			t.Errorf("%q: got %v, want it to say %s", tt.text, err, tt.want)
		}
	}
	c, err := readConfig(writeConfig(t, "drain:\nmixer: {max_width: 0x280, max_height: \"360\"}\naudit: {keep: 48h}\ntranscode: {cores: 1.5}\ndemo: true\nhttp: {listen: \":80\"}\nlog: {levels: {sfu: debug}}\n"))
	if err != nil || c.Mixer.MaxWidth != 640 || c.Mixer.MaxHeight != 360 || c.Audit.Keep != 48*time.Hour || c.Transcode.Cores != 1.5 {
		t.Errorf("what is right: %+v, %v", c, err)
	}
}

// Every duration of the config says so: a new one, too.
func TestEveryDurationWantsAUnit(t *testing.T) {
	found := 0
	var walk func(of reflect.Type, path string, file func(any) any)
	walk = func(of reflect.Type, path string, file func(any) any) {
		switch {
		case of == reflect.TypeFor[time.Duration]():
			found++
			text, err := yaml.Marshal(file(7))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := readConfig(writeConfig(t, string(text))); err == nil || !strings.Contains(err.Error(), path+": 7 has no unit; write 7s") {
				t.Errorf("%s: got %v", text, err)
			}
		case of.Kind() == reflect.Struct:
			for field := range of.Fields() {
				if name := field.Tag.Get("yaml"); name != "" {
					walk(field.Type, strings.TrimPrefix(path+"."+name, "."), func(v any) any { return file(map[string]any{name: v}) })
				}
			}
		case of.Kind() == reflect.Slice:
			walk(of.Elem(), path+"[0]", func(v any) any { return file([]any{v}) })
		case of.Kind() == reflect.Map:
			walk(of.Elem(), path+".a", func(v any) any { return file(map[string]any{"a": v}) })
		}
	}
	walk(reflect.TypeFor[config](), "", func(v any) any { return v })
	if found < 9 {
		t.Errorf("found %d durations: this test does not walk the config any more", found)
	}
}

func FuzzConfigKinds(f *testing.F) {
	for _, text := range []string{"callbacks: {timeout: 5}", "drain: [1]", "storage: {s3: {a: {endpoint: 1}}}", "x: &a {b: *a}", "a: 1e999", "[", "ice_servers: [{ttl: 9999999999999d}]"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		if err := wrongKind(file); err != nil && (strings.HasPrefix(err.Error(), ":") || len(fmt.Sprint(err)) > 10_000) {
			t.Errorf("got %v", err)
		}
	})
}
