package artc

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"braid/media"
	"braid/store"
)

// Every action reads its application first, and says what is wrong with it in
// its family's words. The others take no AppId, or more than one.
func TestAppID(t *testing.T) {
	s := start(t)
	own := map[string]string{"DeleteChannel": "InvalidInput"}
	for _, a := range catalogue() {
		switch {
		case strings.HasSuffix(a.name, "CloudRecording") && a.name != "StartRtcCloudRecording", a.name == "DescribeRtcCloudRecordingFiles",
			strings.Contains(a.name, "Asr"), a.name == "DescribeLiveGrtnDuration":
			continue
		}
		missing, bad := "MissingParam", "InvalidAppId"
		if a.family.rename != nil && own[a.name] == "" {
			own[a.name] = "InputInvalid"
		}
		if own[a.name] != "" {
			missing, bad = own[a.name], own[a.name]
		}
		s.expect(a.name+" without", s.call(a.name, nil), 400, missing, "AppId is missing")
		s.expect(a.name+" bad", s.call(a.name, map[string]string{"AppId": "a/b"}), 400, bad, `AppId: "a/b" is not 1 to 64 of A-Z a-z 0-9 _ -`)
		s.expect(a.name+" unknown", s.call(a.name, map[string]string{"AppId": "app3"}), 400, bad, `AppId: there is no application "app3"`)
		in := "InvalidParam"
		if own[a.name] != "" {
			in = own[a.name]
		}
		s.expect(a.name+" in parts", s.call(a.name, map[string]string{"AppId.1": "app1"}), 400, in, "AppId: is not a single value")
		s.expect(a.name+" in an odd tree", s.call(a.name, map[string]string{"A..B": "1"}), 400, in, `"A..B" is not a parameter name`)
	}
}

// What went wrong inside is logged, not told, and named as the family does.
func TestInternalErrors(t *testing.T) {
	var log bytes.Buffer
	h := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for _, c := range []struct {
		family family
		code   string
	}{{mpu, "InternalError"}, {eventSub, "ServerError"}, {deleteChannel, "InternalError"}, {asr, "InternalError"}} {
		log.Reset()
		status, body := h.failure(inFamily{c.family, errors.New("disk full at /secret/path")}, "ID")
		if status != 500 || body["Code"] != c.code || body["Message"] != "The request failed inside the server." {
			t.Errorf("got %d %v, want 500 %s", status, body, c.code)
		}
		away, body := h.failure(inFamily{c.family, fmt.Errorf("%w: %w", store.ErrAway, media.ErrNotFound)}, "ID")
		if away != 503 || body["Code"] != "ServiceUnavailable" || strings.Contains(fmt.Sprint(body["Message"]), "not found") {
			t.Errorf("the store is away: got %d %v", away, body)
		}
		if !strings.Contains(log.String(), "/secret/path") || !strings.Contains(log.String(), "requestId=ID") {
			t.Errorf("logged: %s", log.String())
		}
	}
}
