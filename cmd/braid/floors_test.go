package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestFloors holds the house together: imports go down (doc/architecture.md).
func TestFloors(t *testing.T) {
	floors := map[string]int{
		"braid/cmd": 6, "braid/signaling": 5, "braid/web": 5, "braid/metrics": 5, "braid/relay": 4,
		"braid/mixer": 3, "braid/origin": 3, "braid/callback": 3,
		"braid/media/sfu": 2, "braid/sei": 2, "braid/store": 2, "braid/media": 1, "braid/event": 1, "braid/internal": 1,
	}
	floor := func(pkg string) int {
		best, f := "", 0
		for prefix, n := range floors {
			if (pkg == prefix || strings.HasPrefix(pkg, prefix+"/")) && len(prefix) > len(best) {
				best, f = prefix, n
			}
		}
		return f
	}
	imports := goList(t, nil, `{{.ImportPath}} {{join .Imports " "}}`, "braid/...")
	for _, line := range strings.Split(imports, "\n") {
		names := strings.Fields(line)
		if len(names) == 0 {
			continue
		}
		from := names[0]
		if floor(from) == 0 {
			t.Errorf("%s stands on no floor", from)
		}
		for _, to := range names[1:] {
			switch {
			case strings.HasPrefix(to, "braid/") && floor(to) > floor(from):
				t.Errorf("%s imports %s, which is above it", from, to)
			case strings.HasPrefix(to, "github.com/pion/webrtc") && from != "braid/media/sfu":
				t.Errorf("%s imports %s: only braid/media/sfu may", from, to)
			case strings.HasPrefix(to, "github.com/minio/") && from != "braid/origin/storage":
				t.Errorf("%s imports %s: only braid/origin/storage speaks S3", from, to)
			case to == "braid/internal/testkit":
				t.Errorf("%s imports %s: only tests may", from, to)
			case to == "C" && from != "braid/media/codec":
				t.Errorf("%s uses cgo: only braid/media/codec may", from)
			case to == "braid/media/codec" && from != "braid/mixer/engine":
				t.Errorf("%s imports %s: codecs run in the worker alone", from, to)
			case (to == "database/sql" || strings.HasPrefix(to, "modernc.org/") || strings.HasPrefix(to, "github.com/jackc/")) && !strings.HasPrefix(from, "braid/store"):
				t.Errorf("%s imports %s: only braid/store speaks SQL", from, to)
			case strings.HasPrefix(from, "braid/mixer") && (to == "braid/media/sfu" || to == "braid/origin"):
				t.Errorf("%s imports %s: the mixer is handed its sources and sinks", from, to)
			case from == "braid/relay" && (to == "braid/origin" || to == "braid/media/sfu"):
				t.Errorf("%s imports %s: the relay is handed its sources and sinks", from, to)
			}
		}
	}
	deps := goList(t, []string{"CGO_ENABLED=0"}, `{{join .Deps "\n"}}`, "braid/cmd/braid")
	if strings.Contains(deps, "braid/media/codec") {
		t.Error("the server links codecs")
	}
}

func goList(t *testing.T, env []string, format string, args ...string) string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-f", format}, args...)...)
	cmd.Env = append(cmd.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, out)
	}
	return string(out)
}
