package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// TestBackupAndRestore copies a server's data while it runs, goes on changing it,
// and starts another from the copy: it knows what was there before, and nothing
// of what came later.
func TestBackupAndRestore(t *testing.T) {
	dir, copied := t.TempDir(), filepath.Join(t.TempDir(), "copy")
	t.Run("running", func(t *testing.T) {
		s := startBraid(t, func(c *config) { c.DataDir = dir })
		s.rest("POST", "/v1/applications", map[string]any{"id": "before", "name": "Made before"}, nil)
		name := filepath.Join(t.TempDir(), "braid.yaml")
		if err := os.WriteFile(name, []byte("data_dir: "+dir), 0o600); err != nil {
			t.Fatal(err)
		}
		var out, complaints bytes.Buffer
		if err := run(t.Context(), []string{"backup", "--config", name, copied}, &out, &complaints); err != nil || !strings.Contains(out.String(), copied) {
			t.Fatalf("%v, %s%s", err, &out, &complaints)
		}
		if err := run(t.Context(), []string{"backup", "--config", name, copied}, &out, &complaints); err == nil {
			t.Error("a backup was written over")
		}
		s.rest("POST", "/v1/applications", map[string]any{"id": "after", "name": "Made after"}, nil)
	})
	t.Run("restored", func(t *testing.T) {
		s := startBraid(t, func(c *config) { c.DataDir = copied })
		s.rest("GET", "/v1/applications/before", nil, nil)
		if status, body, _ := s.tryREST("GET", "/v1/applications/after", nil); status != 404 {
			t.Errorf("what came after the backup: %d %s", status, body)
		}
	})
	for _, tt := range []struct {
		config string
		args   []string
		want   string
	}{
		{"store: {dsn: 'postgres://a@b/c'}", []string{"x"}, "pg_dump"}, {"data_dir: " + t.TempDir(), nil, "one folder"},
		{"data_dir: " + t.TempDir(), []string{filepath.Join(t.TempDir(), "new")}, "not found"},
	} {
		name := filepath.Join(t.TempDir(), "braid.yaml")
		if err := os.WriteFile(name, []byte(tt.config), 0o600); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		err := run(t.Context(), append([]string{"backup", "--config", name}, tt.args...), &out, &out)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s %v: got %v, want %q", tt.config, tt.args, err, tt.want)
		}
	}
}

// TestSystemdUnit has systemd's own checker read the unit, with this test as the
// program, and holds its grade.
func TestSystemdUnit(t *testing.T) {
	program, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	unit, err := os.ReadFile("../../deploy/systemd/braid.service")
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "braid.service")
	if err := os.WriteFile(name, bytes.ReplaceAll(unit, []byte("/usr/local/bin/braid"), []byte(self)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"verify", name}, {"security", "--offline=true", "--threshold=25", "--no-pager", name}} {
		out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && bytes.Contains(out, []byte("braid.service")) {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

// TestContainerFiles: what runs braid in containers is well formed, and says the
// same as the program about ports, paths and settings.
func TestContainerFiles(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("../../deploy", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	docker := read("docker/Dockerfile")
	for _, want := range []string{"USER 10001", "CGO_ENABLED=0", "EXPOSE 8080/tcp 1935/tcp 8189/tcp 8189/udp", `"serve", "--config", "/etc/braid/braid.yaml"`} {
		if !strings.Contains(docker, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	inSetup := read("../script/setup.sh")
	for _, p := range regexp.MustCompile(`(?m)\blib[a-z0-9]+-dev\b|\bgcc\b|\bpkg-config\b`).FindAllString(docker, -1) {
		if !strings.Contains(inSetup, p) {
			t.Errorf("the Dockerfile installs %s, which script/setup.sh does not", p)
		}
	}
	for _, name := range []string{"docker/braid.yaml", "kubernetes/braid.yaml", "compose.yaml", "compose/braid.yaml", "compose/prometheus.yml", "compose/grafana-datasource.yaml", "compose/grafana-dashboards.yaml"} {
		docs := strings.Split(read(name), "\n---\n")
		for i, doc := range docs {
			var v map[string]any
			if err := yaml.Unmarshal([]byte(doc), &v); err != nil || len(v) == 0 {
				t.Errorf("%s, document %d: %v", name, i+1, err)
				continue
			}
			if v["kind"] != "ConfigMap" {
				continue
			}
			data, _ := v["data"].(map[string]any)
			checkSettings(t, name, data["braid.yaml"].(string))
		}
	}
	for _, name := range []string{"docker/braid.yaml", "compose/braid.yaml"} {
		checkSettings(t, name, read(name))
	}
}

// checkSettings reads a configuration as a first start of braid does.
func checkSettings(t *testing.T, of, text string) {
	t.Helper()
	dir := t.TempDir()
	token, name := filepath.Join(dir, "token"), filepath.Join(dir, "braid.yaml")
	text = regexp.MustCompile(`token_file: [^,}]+`).ReplaceAllString(text, "token_file: "+token)
	for file, content := range map[string]string{token: "0123456789abcdef\n", name: text} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := readConfig(name)
	if err == nil {
		c.DataDir = dir
		_, err = loadCredentials(&c)
	}
	switch {
	case err != nil:
		t.Errorf("%s: %v", of, err)
	case strings.Contains(text, "token_file") && c.Metrics.Token != "0123456789abcdef":
		t.Errorf("%s: the token was read as %q", of, c.Metrics.Token)
	}
}
