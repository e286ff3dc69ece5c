package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"braid/media"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "braid.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestConfig(t *testing.T) {
	c, err := readConfig(writeConfig(t, `
data_dir: /var/lib/braid
http: {listen: "0.0.0.0:80"}
media:
  public_ips: [203.0.113.7, "2001:db8::7", auto]
  stun_servers: [stun.example.com, "192.0.2.1:19302", "[2001:db8::1]"]
ice_servers:
  - urls: ["stun:stun.example.com"]
  - {urls: ["turn:turn.example.com?transport=tcp", "turns:[2001:db8::2]:443"], secret: shared, ttl: 1h}
drain: 5s
access_keys: [{id: k, secret: s}]
applications:
  - {id: app-1, key: key, name: First}
`))
	if err != nil {
		t.Fatal(err)
	}
	if c.DataDir != "/var/lib/braid" || c.HTTP.Listen != "0.0.0.0:80" || c.RTMP.Listen != "127.0.0.1:1935" ||
		c.Media.Listen != ":8189" || len(c.publicIPs()) != 2 || c.Drain != 5*time.Second || c.AccessKeys[0].Secret != "s" || c.Applications[0].Name != "First" {
		t.Errorf("got %+v", c)
	}
	if got, want := c.stunServers(), []string{"stun.example.com:3478", "192.0.2.1:19302", "[2001:db8::1]:3478"}; !slices.Equal(got, want) {
		t.Errorf("STUN servers: got %q, want %q", got, want)
	}
	if ice := c.ice(); len(ice) != 2 || ice[0].TTL != 24*time.Hour || ice[1].TTL != time.Hour || ice[1].Secret != "shared" {
		t.Errorf("ICE servers: got %+v", ice)
	}
	if d := defaults(); d.stunServers() != nil || d.ice() != nil {
		t.Error("a server that was told nothing asks others for its address")
	}
	if c.demo() {
		t.Error("the demo, which gives tokens to everyone, is on although HTTP is not on loopback")
	}
	for _, text := range []string{"", "# nothing yet\n", "---\n", "---\nmixer: {max_width: 640}\n", "mixer: {max_width: 640}\n...\n"} {
		if c, err := readConfig(writeConfig(t, text)); err != nil || !reflect.DeepEqual(c.HTTP, defaults().HTTP) || !c.demo() {
			t.Errorf("%q: %v, demo %v; want the defaults with the demo", text, err, c.demo())
		}
	}
}

// Each mistake is named with what it wants; unknown fields with their line.
func TestConfigMistakes(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"data_dir: x\nhttp:\n  listne: \":80\"\n", "[3:3] unknown field \"listne\""},
		{"data_dir: x\ndata_dir: y\n", "[2:1]"},
		{"http: {listen: 80}\n", `http.listen: "80" is not host:port`},
		{"media: {public_ips: [example.com]}\n", `media.public_ips[0]: "example.com" is not an IP address`},
		{"media: {public_ips: [auto, 0.0.0.0]}\n", `media.public_ips[1]: "0.0.0.0" is not an IP address`},
		{"media: {stun_servers: [stun.example.com]}\n", `media.stun_servers: they are asked only when media.public_ips has "auto"`},
		{"media: {public_ips: [auto], stun_servers: [a, \"b:c\"]}\n", `media.stun_servers[1]: "b:c" is not host or host:port`},
		{"ice_servers: [{username: u}]\n", "ice_servers[0].urls: at least one"},
		{"ice_servers: [{urls: [\"stun:a\"]}, {urls: [\"http://a\"]}]\n", `ice_servers[1].urls[0]: "http://a" is not stun:host`},
		{"ice_servers: [{urls: [\"stun:a?transport=udp\"]}]\n", "ice_servers[0].urls[0]"},
		{"ice_servers: [{urls: [\"turn:a:99999\"], secret: s}]\n", "ice_servers[0].urls[0]"},
		{"ice_servers: [{urls: [\"stun:a>\"]}]\n", "ice_servers[0].urls[0]"},
		{"ice_servers: [{urls: [\"turn:a\"]}]\n", "ice_servers[0].username: a TURN server needs"},
		{"ice_servers: [{urls: [\"turn:a\", \"stun:a\"], secret: s}]\n", "ice_servers[0].urls[1]: STUN and TURN"},
		{"ice_servers: [{urls: [\"stun:a\"], secret: s}]\n", "ice_servers[0].urls: a STUN server has no"},
		{"ice_servers: [{urls: [\"turn:a\"], secret: s, username: u}]\n", "ice_servers[0].secret: either"},
		{"ice_servers: [{urls: [\"turn:a\"], secret: s, ttl: 1s}]\n", "ice_servers[0].ttl: 1s is not from 1m to 168h"},
		{"drain: 2h\n", "drain: 2h0m0s is not from 0s to 1h0m0s"},
		{"mixer: {max_width: 100000}\n", "mixer.max_width: 100000 is not from 16 to 4096 pixels"},
		{"access_keys: [{id: a}]\n", "access_keys[0]: id and secret are both needed"},
		{"access_keys: [{id: a, secret: b}, {id: a, secret: c}]\n", `access_keys[1].id: "a" is there twice`},
		{"applications: [{id: a b, key: k}]\n", `applications[0].id: "a b" is not 1 to 64 characters of A-Za-z0-9_-`},
		{"applications: [{id: a}]\n", "applications[0].key: is needed"},
		{"applications: {id: a}\n", "[1:"},
		{"http: {public_url: example.com}\n", "http.public_url"},
		{"rtmp: {public_url: \"http://example.com\"}\n", "scheme rtmp or rtmps"},
		{"outbound: {allow: [10.0.0.0/33]}\n", "outbound.allow[0]"},
		{"callbacks: {timeout: 1ms}\n", "callbacks.timeout: 1ms is not from 100ms to 1m0s"},
		{"admin_tokens: [short]\n", "admin_tokens[0]: it has 5 characters, at least 16 are needed"},
		{"data_dir: [", "["},
		{"data_dir: x\n---\nhttp: {listne: \":80\"}\n", "more than one YAML document"},
	} {
		_, err := readConfig(writeConfig(t, tt.text))
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%q: got %v, want it to say %s", tt.text, err, tt.want)
		}
	}
	if _, err := readConfig(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: got %v", err)
	}
}

// A media worker that can never start is found at once, not with the first mix.
func TestMixerProgram(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "program")
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for name, want := range map[string]string{"none": "", dir: "", text: "", program: program, "program": program} {
		var c config
		c.Mixer.Program = name
		if got, err := c.mixerProgram(); got != want || (err == nil) != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("http: {listen: \":80\"}\naccess_keys: [{id: a, secret: b}]\n")
	f.Add("media:\n  public_ips:\n  - &a ::1\n  - *a\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		name := filepath.Join(dir, "braid.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		readConfig(name)
	})
}

// Secrets are made once, kept for the owner alone, and found again.
func TestCredentials(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	first := defaults()
	first.DataDir = dir
	made, err := loadCredentials(&first)
	if err != nil || len(made.AccessKeys) != 1 || len(made.Applications) != 1 {
		t.Fatalf("first start: made %+v, %v", made, err)
	}
	info, err := os.Stat(filepath.Join(dir, "credentials.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("credentials.json: %v, %v; want mode 0600", info.Mode(), err)
	}
	again := defaults()
	again.DataDir = dir
	if made, err := loadCredentials(&again); err != nil || !made.empty() {
		t.Errorf("second start: made %v, %v", made, err)
	}
	a, _ := json.Marshal(first)
	b, _ := json.Marshal(again)
	if !bytes.Equal(a, b) {
		t.Errorf("second start has others: %s, %s", a, b)
	}
	if len(first.AccessKeys[0].Secret) < 32 || len(first.Applications[0].Key) < 32 || !media.IsID(first.Applications[0].ID, media.MaxID) {
		t.Errorf("weak or wrong: %+v", first)
	}
	given := defaults()
	given.DataDir, given.AccessKeys = dir, []accessKey{{"k", "s"}}
	if _, err := loadCredentials(&given); err != nil || given.AccessKeys[0].ID != "k" || len(given.Applications) != 1 {
		t.Errorf("a configured access key: %+v, %v", given, err)
	}
}

// What the config names is neither made nor shown.
func TestCredentialsHalfGiven(t *testing.T) {
	c := defaults()
	c.DataDir, c.Applications = t.TempDir(), []application{{ID: "mine", Key: "my-key"}}
	made, err := loadCredentials(&c)
	if err != nil || len(made.AccessKeys) != 1 || len(made.Applications) != 0 {
		t.Fatalf("made %+v, %v; want an access key alone", made, err)
	}
	var out bytes.Buffer
	made.show(&out, c.DataDir)
	if strings.Contains(out.String(), "my-key") || !strings.Contains(out.String(), made.AccessKeys[0].Secret) {
		t.Errorf("shown: %s", out.String())
	}
	kept, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer kept.Close()
	made.show(kept, c.DataDir)
	if said, err := os.ReadFile(kept.Name()); err != nil || bytes.Contains(said, []byte(made.AccessKeys[0].Secret)) || !bytes.Contains(said, []byte("credentials.json")) {
		t.Errorf("%v; a file, as a container's log is, was told: %s", err, said)
	}
}

// The file may have been edited: what is gone is made again, what is wrong is named.
func TestCredentialsEdited(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{`{}`, ""},
		{`{"access_keys": [], "applications": null}`, ""},
		{`{"access_keys": [{"id": "a"}]}`, "credentials.json: access_keys[0]: id and secret are both needed"},
		{`{"applications": [{"id": "a b", "key": "k"}]}`, `credentials.json: applications[0].id: "a b" is not`},
		{`secrets`, "credentials.json: invalid character"},
	} {
		c := defaults()
		c.DataDir = t.TempDir()
		if err := os.WriteFile(filepath.Join(c.DataDir, "credentials.json"), []byte(tt.text), 0o600); err != nil {
			t.Fatal(err)
		}
		made, err := loadCredentials(&c)
		if tt.want == "" {
			if err != nil || len(made.AccessKeys) != 1 || len(made.Applications) != 1 {
				t.Errorf("%s: made %+v, %v", tt.text, made, err)
			}
		} else if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want it to say %s", tt.text, err, tt.want)
		}
	}
}

// A first start that fails later has shown the secrets: the next one does not.
func TestFirstStartFailsAndShowsSecrets(t *testing.T) {
	dir := t.TempDir()
	name := writeConfig(t, "data_dir: "+dir+"\nhttp: {listen: \"127.0.0.1:99999\"}\n")
	var out bytes.Buffer
	if err := run(t.Context(), []string{"serve", "--config", name}, &out, &bytes.Buffer{}); err == nil {
		t.Fatal("port 99999 is taken")
	}
	b, err := os.ReadFile(filepath.Join(dir, "credentials.json"))
	if err != nil {
		t.Fatal(err)
	}
	var kept credentials
	if err := json.Unmarshal(b, &kept); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{kept.AccessKeys[0].Secret, kept.Applications[0].Key} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("a kept secret was never shown:\n%s", out.String())
		}
	}
}

func TestCommandLine(t *testing.T) {
	ctx := context.Background()
	var out, complaints bytes.Buffer
	if err := run(ctx, []string{"serve", "--help"}, &out, &complaints); !errors.Is(err, flag.ErrHelp) {
		t.Errorf("serve --help: %v", err)
	}
	for _, want := range []string{"-config file", "-log level", "127.0.0.1:8080"} {
		if !strings.Contains(complaints.String(), want) {
			t.Errorf("serve --help does not explain %q:\n%s", want, complaints.String())
		}
	}
	for _, args := range [][]string{{"dance"}, {"serve", "now"}, {"serve", "--log", "loud"}, {"serve", "--nope"}} {
		if err := run(ctx, args, &out, &complaints); err == nil || errors.Is(err, flag.ErrHelp) {
			t.Errorf("%q is taken: %v", args, err)
		}
	}
	for _, c := range []struct{ arg, want string }{
		{"version", "braid (devel) go"}, {"--version", "braid (devel) go"}, {"-v", "braid (devel) go"},
		{"help", "braid bot publish "}, {"--help", "braid bot publish "}, {"-h", "braid bot publish "},
	} {
		out.Reset()
		if err := run(ctx, []string{c.arg}, &out, &complaints); err != nil || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: %q, %v; want %q", c.arg, out.String(), err, c.want)
		}
	}
}

// A port that is taken is named, with what to do about it.
func TestPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, err = net.Listen("tcp", taken.Addr().String())
	err = withAdvice(fmt.Errorf("http.listen: %w", err))
	if err == nil || !strings.Contains(err.Error(), taken.Addr().String()) || !strings.Contains(err.Error(), "braid doctor names it") {
		t.Errorf("got %v, want the address and what to do", err)
	}
	if err := withAdvice(os.ErrNotExist); err != os.ErrNotExist {
		t.Errorf("another error becomes %v", err)
	}
}

func TestLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"127.0.0.1:8080": true, "localhost:8080": true, "localhost": true, "[::1]:80": true, "[::1]": true, "127.1.2.3": true,
		"0.0.0.0:80": false, ":8080": false, "braid.example:8080": false, "localhost.example": false, "": false, "10.0.0.1": false,
	} {
		if got := loopback(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
}
