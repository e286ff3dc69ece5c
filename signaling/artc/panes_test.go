package artc

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"braid/media"
	"braid/relay"
)

// oneMix is a channel with one mixed stream.
type oneMix struct{ spec *relay.Spec }

func (m *oneMix) MixOf(app, channel, task string) (*relay.Spec, error) {
	if app != "app" || channel != "room" || task != "" && task != "mix" {
		return nil, media.ErrNotFound
	}
	return m.spec, nil
}

func (m *oneMix) Update(_ context.Context, s *relay.Spec) error { m.spec = s; return nil }

func TestSetPanes(t *testing.T) {
	started := &relay.Spec{App: "app", Channel: "room", Task: "mix", Mode: relay.Mix, URLs: []string{"rtmp://h/a/b"},
		Users: []relay.UserRef{{User: "ann", Source: media.Camera}},
		Echo:  map[string]any{"TaskId": "mix", "TranscodeParams": map[string]any{"UserInfos": "as they were", "Layout": "old"}}}
	m := &oneMix{started}
	err := SetPanes(t.Context(), m, "app", "room", "", json.RawMessage(
		`[{"X":0.5,"Y":"0","Width":0.5,"Height":1,"ZOrder":2,"UserInfo":{"UserId":"ann"}},{"X":0,"Y":0,"Width":0.5,"Height":1}]`))
	if err != nil {
		t.Fatal(err)
	}
	p := m.spec.Panes
	if len(p) != 2 || p[0].X != 0.5 || p[0].W != 0.5 || p[0].ZOrder != 2 || p[0].User.User != "ann" || p[1].User != nil {
		t.Errorf("panes: got %+v", p)
	}
	if m.spec.URLs[0] != "rtmp://h/a/b" || len(started.Panes) != 0 {
		t.Error("what is not the layout has changed, or the old spec has")
	}
	b, _ := json.Marshal(m.spec.Echo)
	if !strings.Contains(string(b), `"UserInfos":"as they were"`) || !strings.Contains(string(b), `"UserPanes":[{`) {
		t.Errorf("echo: got %s", b)
	}
	for text, word := range map[string]string{
		`[{"X":2,"Y":0,"Width":1,"Height":1}]`:                             "UserPanes.1.X",
		`[{"X":0,"Y":0,"Width":1,"Height":1,"UserInfo":{"UserId":"bob"}}]`: "bob",
		`[]`:                    "UserPanes is missing",
		`{"X":1}`:               "UserPanes: is not a list",
		`[{"X":0,"Y":0,"Width"`: "JSON",
		`"text"`:                "UserPanes: is not a list",
	} {
		err := SetPanes(t.Context(), m, "app", "room", "mix", json.RawMessage(text))
		if !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v, want media.ErrInvalid with %q", text, err, word)
		}
	}
	everyone := &oneMix{&relay.Spec{App: "app", Channel: "room", Task: "mix", Mode: relay.Mix}}
	for text, word := range map[string]string{
		`[{"X":0,"Y":0,"Width":1,"Height":1,"BackgroundImageUrl":"http://h/a.png"}]`:               "has an image",
		`[{"X":0,"Y":0,"Width":1,"Height":1,"UserInfo":{"UserId":"eve","ChannelId":"elsewhere"}}]`: "another channel",
	} {
		if err := SetPanes(t.Context(), everyone, "app", "room", "", json.RawMessage(text)); !errors.Is(err, media.ErrInvalid) || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: got %v, want media.ErrInvalid with %q", text, err, word)
		}
	}
	if err := SetPanes(t.Context(), m, "app", "room", "other", json.RawMessage(`[]`)); !errors.Is(err, media.ErrNotFound) {
		t.Errorf("another task: got %v", err)
	}
}
