package artc

import (
	"encoding/json"
	"maps"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"braid/media"
	"braid/relay"
)

// tree parses JSON as the decoder does, for expectations.
func tree(t testing.TB, s string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// flatten writes a tree with dotted names, as the older SDK does.
func flatten(name string, v any, to map[string]string) {
	switch v := v.(type) {
	case string:
		to[name] = v
	case map[string]any:
		for k, v := range v {
			flatten(strings.TrimPrefix(name+"."+k, "."), v, to)
		}
	case []any:
		for i, v := range v {
			flatten(name+"."+strconv.Itoa(i+1), v, to)
		}
	}
}

// encodeJSON writes a tree as the newer SDKs do: one JSON text for each structured parameter.
func encodeJSON(t testing.TB, tree map[string]any) map[string]string {
	t.Helper()
	to := map[string]string{}
	for k, v := range tree {
		if s, ok := v.(string); ok {
			to[k] = s
			continue
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		to[k] = string(b)
	}
	return to
}

const capturedEcho = `{
	"AppId": "app1", "ChannelId": "ch1", "TaskId": "t1", "MaxIdleTime": "60", "MixMode": "1",
	"MultiStreamURL": [
		{"IsAliCdn": false, "URL": "rtmp://127.0.0.1/live/a?auth_key=1-0-0-x"},
		{"IsAliCdn": false, "URL": "rtmp://127.0.0.1/live/b"}],
	"SeiParams": {"LayoutVolume": {"FollowIdr": "1", "Interval": "1000"},
		"PassThrough": {"PayloadContent": "hi", "PayloadContentKey": "udd"}, "PayloadType": "100"},
	"TranscodeParams": {
		"Background": {"RenderMode": "1", "URL": "https://example.invalid/bg.png"},
		"EncodeParams": {"AudioBitrate": "128", "AudioChannels": "2", "AudioSampleRate": "48000",
			"EnhancedParam": "{\"profile\":\"high\"}", "VideoBitrate": "1500", "VideoFramerate": "25",
			"VideoGop": "50", "VideoHeight": "720", "VideoWidth": "1280"},
		"Layout": {"UserPanes": [
			{"X": "0", "Y": "0.25", "Width": "0.5", "Height": "0.5", "ZOrder": "1", "RenderMode": "0",
				"UserInfo": {"SourceType": "camera", "UserId": "111"}},
			{"X": "0.5", "Y": "0.25", "Width": "0.5", "Height": "0.5", "ZOrder": "1"}]},
		"UserInfos": [{"StreamType": "0", "UserId": "111"}, {"ChannelId": "ch2", "UserId": "222"}]}}`

// capturedSpec is what the captured StartLiveMPUTask of the newer SDK means.
func capturedSpec(t testing.TB) *relay.Spec {
	return &relay.Spec{
		App: "app1", Channel: "ch1", Task: "t1", Mode: relay.Mix, MaxIdle: time.Minute,
		URLs: []string{"rtmp://127.0.0.1/live/a?auth_key=1-0-0-x", "rtmp://127.0.0.1/live/b"},
		Users: []relay.UserRef{
			{User: "111", Source: media.Camera},
			{User: "222", Channel: "ch2", Source: media.Camera},
		},
		Panes: []relay.Pane{
			{X: 0, Y: 0.25, W: 0.5, H: 0.5, ZOrder: 1, User: &relay.UserRef{User: "111", Source: media.Camera}},
			{X: 0.5, Y: 0.25, W: 0.5, H: 0.5, ZOrder: 1, Crop: true},
		},
		Background: &relay.Image{URL: "https://example.invalid/bg.png", Crop: true},
		Encode: relay.Encode{AudioKbps: 128, Channels: 2, SampleRate: 48000, Profile: "high",
			VideoKbps: 1500, FPS: 25, GOP: 50, Width: 1280, Height: 720},
		SEI: &relay.SEI{PayloadType: 100, Key: "udd", Content: "hi",
			Layout:      &relay.SEIRule{FollowIDR: true, Interval: time.Second},
			PassThrough: &relay.SEIRule{FollowIDR: true}},
		Echo: tree(t, capturedEcho),
	}
}

func diff(t *testing.T, what string, got, want any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		g, _ := json.MarshalIndent(got, "", " ")
		w, _ := json.MarshalIndent(want, "", " ")
		t.Errorf("%s:\ngot  %s\nwant %s", what, g, w)
	}
}

// The newer SDK's request and the same task in the older SDK's encoding and
// signature give the same Spec.
func TestStartInBothEncodings(t *testing.T) {
	s := start(t)
	if a := s.replay(captured(t, "v2-StartLiveMPUTask")); a.status != 200 || len(a.body) != 1 {
		t.Fatalf("captured request: got %d %v, want 200 with RequestId only", a.status, a.body)
	}
	diff(t, "captured request", s.tasks.get(t, "app1", "t1"), capturedSpec(t))

	whole, err := decode(capturedParams(t, "v2-StartLiveMPUTask"))
	if err != nil {
		t.Fatal(err)
	}
	whole["TaskId"] = "t2"
	multi, _ := json.Marshal(whole["MultiStreamURL"])
	delete(whole, "MultiStreamURL")
	dotted := map[string]string{"MultiStreamURL": strings.ReplaceAll(string(multi), `"false"`, `""`)}
	flatten("", whole, dotted)
	if _, ok := dotted["TranscodeParams.Layout.UserPanes.1.UserInfo.UserId"]; !ok {
		t.Fatalf("not flattened: %v", dotted)
	}
	if a := s.callRPC("StartLiveMPUTask", dotted); a.status != 200 {
		t.Fatalf("dotted request: got %d %v", a.status, a.body)
	}
	want := capturedSpec(t)
	want.Task, want.Echo["TaskId"] = "t2", "t2"
	diff(t, "dotted request", s.tasks.get(t, "app1", "t2"), want)
}

// The older SDK's captured request verifies and decodes; it leaves out required fields.
func TestCapturedV1Tree(t *testing.T) {
	got, err := decode(capturedParams(t, "v1-StartLiveMPUTask"))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "tree", got, tree(t, `{"AppId": "app1", "ChannelId": "ch1", "TaskId": "t1", "MixMode": "1",
		"MultiStreamURL": [{"IsAliCdn": "", "URL": "rtmp://127.0.0.1/live/a"}],
		"SeiParams": {"LayoutVolume": {"Interval": "1000"}},
		"TranscodeParams": {"EncodeParams": {"VideoWidth": "1280"}, "UserInfos": [{"UserId": "111"}],
			"Layout": {"UserPanes": [{"UserInfo": {"UserId": "111"}, "Width": "0.5", "X": "0"}, {"X": "0.5"}]}}}`))
	s := start(t)
	s.expect("v1", s.replay(captured(t, "v1-StartLiveMPUTask")), 400, "MissingParam", "TranscodeParams.EncodeParams.AudioBitrate is missing")

	// With what is missing filled in, the same request starts a task.
	params := capturedParams(t, "v1-StartLiveMPUTask")
	for _, name := range common {
		delete(params, name)
	}
	maps.Copy(params, map[string]string{
		"TranscodeParams.EncodeParams.AudioBitrate": "64", "TranscodeParams.EncodeParams.AudioChannels": "1",
		"TranscodeParams.EncodeParams.AudioSampleRate": "44100", "TranscodeParams.EncodeParams.VideoHeight": "720",
		"TranscodeParams.EncodeParams.VideoFramerate": "15", "TranscodeParams.EncodeParams.VideoBitrate": "800",
		"TranscodeParams.EncodeParams.VideoGop": "30", "TranscodeParams.Layout.UserPanes.1.Y": "0",
		"TranscodeParams.Layout.UserPanes.1.Height": "1", "TranscodeParams.Layout.UserPanes.2.Y": "0",
		"TranscodeParams.Layout.UserPanes.2.Width": "0.5", "TranscodeParams.Layout.UserPanes.2.Height": "1",
	})
	if a := s.callRPC("StartLiveMPUTask", params); a.status != 200 {
		t.Fatalf("v1 filled in: got %d %v", a.status, a.body)
	}
	got1 := s.tasks.get(t, "app1", "t1")
	got1.Echo = nil
	user := relay.UserRef{User: "111", Source: media.Camera}
	diff(t, "v1 filled in", got1, &relay.Spec{
		App: "app1", Channel: "ch1", Task: "t1", Mode: relay.Mix, URLs: []string{"rtmp://127.0.0.1/live/a"},
		Users: []relay.UserRef{user},
		Panes: []relay.Pane{{W: 0.5, H: 1, Crop: true, User: &user}, {X: 0.5, W: 0.5, H: 1, Crop: true}},
		Encode: relay.Encode{AudioKbps: 64, Channels: 1, SampleRate: 44100, Width: 1280, Height: 720,
			FPS: 15, VideoKbps: 800, GOP: 30},
		SEI: &relay.SEI{PayloadType: 5, Key: "udd", Layout: &relay.SEIRule{Interval: time.Second}},
	})
}

// edit sets a value in a tree by its dotted name; nil deletes it.
func edit(t *testing.T, at any, name string, value any) {
	t.Helper()
	step, rest, more := strings.Cut(name, ".")
	switch at := at.(type) {
	case map[string]any:
		switch {
		case more && at[step] == nil:
			at[step] = map[string]any{}
			fallthrough
		case more:
			edit(t, at[step], rest, value)
		case value == nil:
			delete(at, step)
		default:
			at[step] = value
		}
	case []any:
		i, err := strconv.Atoi(step)
		if err != nil || i < 1 || i > len(at) {
			t.Fatalf("edit: no entry %s", name)
		}
		if more {
			edit(t, at[i-1], rest, value)
		} else {
			at[i-1] = value
		}
	}
}

func specOf(params map[string]string, start bool) (*relay.Spec, error) {
	tree, err := decode(params)
	if err != nil {
		return nil, err
	}
	f := newFields(tree)
	s := taskSpec(f, "app1", start)
	return s, f.err()
}

const (
	encodeP = "TranscodeParams.EncodeParams."
	pane1   = "TranscodeParams.Layout.UserPanes.1."
	pane2   = "TranscodeParams.Layout.UserPanes.2."
)

// set is a list of edits: name, value, name, value ...
type set []any

// baseTree is the captured task with one StreamURL.
func baseTree(t testing.TB) map[string]any {
	b := tree(t, capturedEcho)
	delete(b, "MultiStreamURL")
	b["StreamURL"] = "rtmp://127.0.0.1/live/a"
	return b
}

func panes(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = map[string]any{"X": "0", "Y": "0", "Width": "1", "Height": "1"}
	}
	return list
}

func users(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = map[string]any{"UserId": "u" + strconv.Itoa(i)}
	}
	return list
}

func urls(n int) []any {
	list := make([]any, n)
	for i := range list {
		list[i] = map[string]any{"URL": "rtmp://h/live/s" + strconv.Itoa(i)}
	}
	return list
}

var badParams = []struct {
	what string
	set  set
	want string // code: message
}{
	{"no channel", set{"ChannelId", nil}, "MissingParam: ChannelId is missing"},
	{"empty channel", set{"ChannelId", ""}, "MissingParam: ChannelId is missing"},
	{"bad channel", set{"ChannelId", "a b"}, `InvalidParam: ChannelId: "a b" is not 1 to 64 of A-Z a-z 0-9 _ -`},
	{"no task", set{"TaskId", nil}, "MissingParam: TaskId is missing"},
	{"long task", set{"TaskId", strings.Repeat("t", 56)}, `InvalidParam: TaskId: "` + strings.Repeat("t", 56) + `" is not 1 to 55 of A-Z a-z 0-9 _ -`},
	{"MixMode", set{"MixMode", "2"}, `InvalidParam: MixMode: "2" is not one of 0, 1`},
	{"short idle", set{"MaxIdleTime", "9"}, `InvalidParam: MaxIdleTime: "9" is not a whole number from 10 to 86400`},
	{"long idle", set{"MaxIdleTime", "86401"}, `InvalidParam: MaxIdleTime: "86401" is not a whole number from 10 to 86400`},
	{"idle with a sign", set{"MaxIdleTime", "+60"}, `InvalidParam: MaxIdleTime: "+60" is not a whole number from 10 to 86400`},
	{"idle with a unit", set{"MaxIdleTime", "60s"}, `InvalidParam: MaxIdleTime: "60s" is not a whole number from 10 to 86400`},
	{"idle with a fraction", set{"MaxIdleTime", "60.5"}, `InvalidParam: MaxIdleTime: "60.5" is not a whole number from 10 to 86400`},

	{"no URL", set{"StreamURL", nil}, "MissingParam: StreamURL or MultiStreamURL is missing"},
	{"both URLs", set{"MultiStreamURL", urls(1)}, "InvalidParam: StreamURL: give either StreamURL or MultiStreamURL, not both"},
	{"port of 99999", set{"StreamURL", "rtmp://h:99999/a/b"}, `InvalidParam: StreamURL: "rtmp://h:99999/a/b" has a port that is not from 1 to 65535`},
	{"port of 0", set{"StreamURL", "rtmp://h:0/a/b"}, `InvalidParam: StreamURL: "rtmp://h:0/a/b" has a port that is not from 1 to 65535`},
	{"http", set{"StreamURL", "http://h/live/a"}, `InvalidParam: StreamURL: "http://h/live/a" is not an rtmp://, rtmps:// or srt:// URL with a host`},
	{"no host", set{"StreamURL", "rtmp:///live/a"}, `InvalidParam: StreamURL: "rtmp:///live/a" is not an rtmp://, rtmps:// or srt:// URL with a host`},
	{"srt without a port", set{"StreamURL", "srt://h?passphrase=secretsecret"}, `InvalidParam: StreamURL: the URL needs a port from 1 to 65535`},
	{"srt with a short passphrase", set{"StreamURL", "srt://h:9000?passphrase=short"}, `InvalidParam: StreamURL: passphrase must have 10 to 79 bytes`},
	{"srt with ffmpeg's latency", set{"StreamURL", "srt://h:9000?latency=200000"}, `InvalidParam: StreamURL: latency must be 20 to 8000 milliseconds`},
	{"port only", set{"StreamURL", "rtmp://:1935/live/a"}, `InvalidParam: StreamURL: "rtmp://:1935/live/a" is not an rtmp://, rtmps:// or srt:// URL with a host`},
	{"bad port", set{"StreamURL", "rtmp://h:x/live/a"}, `InvalidParam: StreamURL: "rtmp://h:x/live/a" is not a URL`},
	{"space", set{"StreamURL", "rtmp://h/live/a b"}, `InvalidParam: StreamURL: "rtmp://h/live/a b" is not a URL`},
	{"no stream", set{"StreamURL", "rtmp://h/live"}, `InvalidParam: StreamURL: "rtmp://h/live" does not name an app and a stream, as rtmp://host/app/stream does`},
	{"empty stream", set{"StreamURL", "rtmp://h/live/"}, `InvalidParam: StreamURL: "rtmp://h/live/" does not name an app and a stream, as rtmp://host/app/stream does`},
	{"empty app", set{"StreamURL", "rtmp://h//a"}, `InvalidParam: StreamURL: "rtmp://h//a" does not name an app and a stream, as rtmp://host/app/stream does`},
	{"long URL", set{"StreamURL", "rtmp://h/live/" + strings.Repeat("a", 2048)}, "InvalidParam: StreamURL: is 2062 characters long, at most 2048 are allowed"},
	{"11 URLs", set{"StreamURL", nil, "MultiStreamURL", urls(11)}, "InvalidParam: MultiStreamURL: has 11 entries, at most 10 are allowed"},
	{"URL twice", set{"StreamURL", nil, "MultiStreamURL", append(urls(2), urls(1)...)}, "InvalidParam: MultiStreamURL.3.URL: is given twice"},
	{"entry without URL", set{"StreamURL", nil, "MultiStreamURL", []any{map[string]any{"IsAliCdn": "true"}}}, "MissingParam: MultiStreamURL.1.URL is missing"},
	{"IsAliCdn", set{"StreamURL", nil, "MultiStreamURL", []any{map[string]any{"URL": "rtmp://h/a/b", "IsAliCdn": "2"}}}, `InvalidParam: MultiStreamURL.1.IsAliCdn: "2" is not true or false`},
	{"URLs as texts", set{"StreamURL", nil, "MultiStreamURL", []any{"rtmp://h/a/b"}}, "InvalidParam: MultiStreamURL: entry 1 is not an object"},

	{"no SingleSubParams", set{"MixMode", "0"}, "MissingParam: SingleSubParams is missing"},
	{"no single user", set{"MixMode", "0", "SingleSubParams.StreamType", "0"}, "MissingParam: SingleSubParams.UserId is missing"},
	{"single StreamType", set{"MixMode", "0", "SingleSubParams.UserId", "u", "SingleSubParams.StreamType", "3"}, `InvalidParam: SingleSubParams.StreamType: "3" is not one of 0, 1, 2`},
	{"single SourceType", set{"MixMode", "0", "SingleSubParams.UserId", "u", "SingleSubParams.SourceType", "screen"}, `InvalidParam: SingleSubParams.SourceType: "screen" is not one of camera, shareScreen`},

	{"no TranscodeParams", set{"TranscodeParams", nil}, "MissingParam: TranscodeParams is missing"},
	{"TranscodeParams is a text", set{"TranscodeParams", "7"}, "InvalidParam: TranscodeParams: is not an object"},
	{"TranscodeParams is a list", set{"TranscodeParams", []any{map[string]any{"A": "1"}}}, "InvalidParam: TranscodeParams: is not an object"},
	{"no EncodeParams", set{"TranscodeParams.EncodeParams", nil}, "MissingParam: TranscodeParams.EncodeParams.AudioBitrate is missing"},
	{"AudioOnly", set{encodeP + "AudioOnly", "yes"}, `InvalidParam: TranscodeParams.EncodeParams.AudioOnly: "yes" is not true or false`},
	{"AudioBitrate", set{encodeP + "AudioBitrate", "7"}, `InvalidParam: TranscodeParams.EncodeParams.AudioBitrate: "7" is not a whole number from 8 to 500`},
	{"AudioChannels", set{encodeP + "AudioChannels", "3"}, `InvalidParam: TranscodeParams.EncodeParams.AudioChannels: "3" is not a whole number from 1 to 2`},
	{"AudioSampleRate", set{encodeP + "AudioSampleRate", "22050"}, `InvalidParam: TranscodeParams.EncodeParams.AudioSampleRate: "22050" is not one of 8000, 16000, 32000, 44100, 48000`},
	{"no AudioSampleRate", set{encodeP + "AudioSampleRate", nil}, "MissingParam: TranscodeParams.EncodeParams.AudioSampleRate is missing"},
	{"no AudioSampleRate in audio only", set{encodeP + "AudioOnly", "true", encodeP + "AudioSampleRate", nil}, "MissingParam: TranscodeParams.EncodeParams.AudioSampleRate is missing"},
	{"no VideoWidth", set{encodeP + "VideoWidth", nil}, "MissingParam: TranscodeParams.EncodeParams.VideoWidth is missing"},
	{"zero width", set{encodeP + "VideoWidth", "0"}, `InvalidParam: TranscodeParams.EncodeParams.VideoWidth: "0" is not a whole number from 16 to 1920`},
	{"zero height", set{encodeP + "VideoHeight", "0"}, `InvalidParam: TranscodeParams.EncodeParams.VideoHeight: "0" is not a whole number from 16 to 1920`},
	{"height of 15", set{encodeP + "VideoHeight", "15"}, `InvalidParam: TranscodeParams.EncodeParams.VideoHeight: "15" is not a whole number from 16 to 1920`},
	{"wide", set{encodeP + "VideoWidth", "1921"}, `InvalidParam: TranscodeParams.EncodeParams.VideoWidth: "1921" is not a whole number from 16 to 1920`},
	{"VideoFramerate", set{encodeP + "VideoFramerate", "61"}, `InvalidParam: TranscodeParams.EncodeParams.VideoFramerate: "61" is not a whole number from 1 to 60`},
	{"VideoBitrate", set{encodeP + "VideoBitrate", "10001"}, `InvalidParam: TranscodeParams.EncodeParams.VideoBitrate: "10001" is not a whole number from 1 to 10000`},
	{"VideoGop", set{encodeP + "VideoGop", "0"}, `InvalidParam: TranscodeParams.EncodeParams.VideoGop: "0" is not a whole number from 1 to 60`},
	{"H.265", set{encodeP + "VideoCodec", "H.265"}, "InvalidParam: TranscodeParams.EncodeParams.VideoCodec: H.265 is not supported yet, use H.264"},
	{"VP8", set{encodeP + "VideoCodec", "VP8"}, `InvalidParam: TranscodeParams.EncodeParams.VideoCodec: "VP8" is not one of H.264, H.265`},
	{"EnhancedParam", set{encodeP + "EnhancedParam", "high"}, `InvalidParam: TranscodeParams.EncodeParams.EnhancedParam: "high" is not a JSON object with profile and preset`},
	{"profile", set{encodeP + "EnhancedParam", `{"profile":"high10"}`}, `InvalidParam: TranscodeParams.EncodeParams.EnhancedParam: profile "high10" is not one of baseline, main, high`},
	{"preset", set{encodeP + "EnhancedParam", `{"preset":"fastest"}`}, `InvalidParam: TranscodeParams.EncodeParams.EnhancedParam: preset "fastest" is not one of ultrafast, superfast, veryfast, faster, fast, medium, slow, slower, veryslow, placebo`},

	{"no panes", set{"TranscodeParams.Layout", nil}, "MissingParam: TranscodeParams.Layout.UserPanes is missing"},
	{"17 panes", set{"TranscodeParams.Layout.UserPanes", panes(17)}, "InvalidParam: TranscodeParams.Layout.UserPanes: has 17 entries, at most 16 are allowed"},
	{"X beyond", set{pane1 + "X", "1.5"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.X: "1.5" is not a number from 0 to 1`},
	{"X below", set{pane1 + "X", "-0.1"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.X: "-0.1" is not a number from 0 to 1`},
	{"no Y", set{pane2 + "Y", nil}, "MissingParam: TranscodeParams.Layout.UserPanes.2.Y is missing"},
	{"NaN", set{pane1 + "Y", "NaN"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.Y: "NaN" is not a number from 0 to 1`},
	{"Inf", set{pane1 + "X", "Inf"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.X: "Inf" is not a number from 0 to 1`},
	{"hexadecimal", set{pane1 + "X", "0x1p-2"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.X: "0x1p-2" is not a number from 0 to 1`},
	{"overflow", set{pane1 + "X", "1e999"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.X: "1e999" is not a number from 0 to 1`},
	{"percent", set{pane1 + "X", "50%"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.X: "50%" is not a number from 0 to 1`},
	{"no width", set{pane1 + "Width", "0"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.Width: "0" is not a number above 0 and up to 1`},
	{"minus zero height", set{pane1 + "Height", "-0.0"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.Height: "-0.0" is not a number above 0 and up to 1`},
	{"too wide", set{pane1 + "X", "0.6"}, "InvalidParam: TranscodeParams.Layout.UserPanes.1.Width: X + Width is 1.1, more than 1"},
	{"too high", set{pane2 + "Y", "0.50201"}, "InvalidParam: TranscodeParams.Layout.UserPanes.2.Height: Y + Height is 1.00201, more than 1"},
	{"starts at the border", set{pane1 + "X", "1", pane1 + "Width", "0.001"}, "InvalidParam: TranscodeParams.Layout.UserPanes.1.Width: X + Width is 1.001, more than 1"},
	{"ZOrder", set{pane1 + "ZOrder", "100"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.ZOrder: "100" is not a whole number from 0 to 99`},
	{"RenderMode", set{pane1 + "RenderMode", "2"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.RenderMode: "2" is not one of 0, 1`},
	{"pane image", set{pane1 + "BackgroundImageUrl", "file:///etc/passwd"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.BackgroundImageUrl: "file:///etc/passwd" is not an http:// or https:// URL with a host`},
	{"background image", set{"TranscodeParams.Background.URL", "bg.png"}, `InvalidParam: TranscodeParams.Background.URL: "bg.png" is not an http:// or https:// URL with a host`},
	{"background RenderMode", set{"TranscodeParams.Background.RenderMode", "fit"}, `InvalidParam: TranscodeParams.Background.RenderMode: "fit" is not one of 0, 1`},
	{"pane without user id", set{pane1 + "UserInfo.UserId", nil}, "MissingParam: TranscodeParams.Layout.UserPanes.1.UserInfo.UserId is missing"},
	{"not listed", set{pane1 + "UserInfo.UserId", "333"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.UserInfo.UserId: "333" with source camera is not in TranscodeParams.UserInfos`},
	{"source not listed", set{pane1 + "UserInfo.SourceType", "shareScreen"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.UserInfo.UserId: "111" with source shareScreen is not in TranscodeParams.UserInfos`},
	{"channel not listed", set{pane1 + "UserInfo.ChannelId", "ch2"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.UserInfo.UserId: "111" with source camera is not in TranscodeParams.UserInfos`},
	{"audio user in a pane", set{"TranscodeParams.UserInfos.1.StreamType", "1"}, `InvalidParam: TranscodeParams.Layout.UserPanes.1.UserInfo.UserId: "111" has StreamType 1 (audio only) and cannot have a pane`},
	{"user in two panes", set{pane2 + "UserInfo.UserId", "111"}, `InvalidParam: TranscodeParams.Layout.UserPanes.2.UserInfo.UserId: "111" with source camera is already in another pane`},
	{"own channel by name", set{pane2 + "UserInfo.UserId", "111", pane2 + "UserInfo.ChannelId", "ch1"}, `InvalidParam: TranscodeParams.Layout.UserPanes.2.UserInfo.UserId: "111" with source camera is already in another pane`},
	{"listed twice", set{"TranscodeParams.UserInfos.2.UserId", "111", "TranscodeParams.UserInfos.2.ChannelId", "ch1"}, `InvalidParam: TranscodeParams.UserInfos.2.UserId: "111" with source camera is given twice`},
	{"51 users", set{"TranscodeParams.UserInfos", users(51)}, "InvalidParam: TranscodeParams.UserInfos: has 51 entries, at most 50 are allowed"},

	{"low PayloadType", set{"SeiParams.PayloadType", "99"}, `InvalidParam: SeiParams.PayloadType: "99" is not a whole number from 100 to 254`},
	{"high PayloadType", set{"SeiParams.PayloadType", "255"}, `InvalidParam: SeiParams.PayloadType: "255" is not a whole number from 100 to 254`},
	{"FollowIdr", set{"SeiParams.LayoutVolume.FollowIdr", "true"}, `InvalidParam: SeiParams.LayoutVolume.FollowIdr: "true" is not one of 0, 1`},
	{"short Interval", set{"SeiParams.LayoutVolume.Interval", "999"}, `InvalidParam: SeiParams.LayoutVolume.Interval: "999" is not a whole number from 1000 to 5000`},
	{"long Interval", set{"SeiParams.PassThrough.Interval", "5001"}, `InvalidParam: SeiParams.PassThrough.Interval: "5001" is not a whole number from 1000 to 5000`},
	{"long content", set{"SeiParams.PassThrough.PayloadContent", strings.Repeat("中", 4097)}, "InvalidParam: SeiParams.PassThrough.PayloadContent: is 4097 characters long, at most 4096 are allowed"},
	{"key of the layout", set{"SeiParams.PassThrough.PayloadContentKey", "stream"}, `InvalidParam: SeiParams.PassThrough.PayloadContentKey: "stream" is the key of the layout`},
	{"content in parts", set{"SeiParams.PassThrough.PayloadContent", map[string]any{"a": "1"}}, "InvalidParam: SeiParams.PassThrough.PayloadContent: is not a single value"},
}

func TestBadParams(t *testing.T) {
	for _, c := range badParams {
		b := baseTree(t)
		for i := 0; i < len(c.set); i += 2 {
			edit(t, b, c.set[i].(string), c.set[i+1])
		}
		dotted := map[string]string{}
		flatten("", b, dotted)
		for encoding, params := range map[string]map[string]string{"JSON": encodeJSON(t, b), "dotted": dotted} {
			_, err := specOf(params, true)
			if err == nil || err.Error() != c.want {
				t.Errorf("%s, %s:\ngot  %v\nwant %s", c.what, encoding, err, c.want)
			}
		}
	}
}

func TestGoodParams(t *testing.T) {
	for _, c := range []struct {
		what  string
		set   set
		check func(*relay.Spec) (got, want any)
	}{
		{"defaults", set{"MixMode", nil, pane1 + "RenderMode", nil, pane1 + "ZOrder", nil, "TranscodeParams.Background.RenderMode", nil},
			func(s *relay.Spec) (any, any) {
				return []any{s.Mode, s.Panes[0].Crop, s.Panes[0].ZOrder, s.Background.Crop}, []any{relay.Mix, true, 0, true}
			}},
		{"overshoot is cut", set{pane2 + "X", "0.5018382"},
			func(s *relay.Spec) (any, any) { return s.Panes[1].X + s.Panes[1].W, 1.0 }},
		{"overshoot of 0.002", set{pane2 + "Y", "0.502"},
			func(s *relay.Spec) (any, any) { return s.Panes[1].Y + s.Panes[1].H, 1.0 }},
		{"number as JavaScript writes it", set{pane1 + "X", "1e-7", pane1 + "Y", ".5"},
			func(s *relay.Spec) (any, any) { return []float64{s.Panes[0].X, s.Panes[0].Y}, []float64{1e-7, 0.5} }},
		{"16 panes", set{"TranscodeParams.Layout.UserPanes", panes(16)},
			func(s *relay.Spec) (any, any) { return len(s.Panes), 16 }},
		{"50 users", set{"TranscodeParams.UserInfos", users(50), pane1 + "UserInfo.UserId", "u49"},
			func(s *relay.Spec) (any, any) { return s.Panes[0].User.User, "u49" }},
		{"10 URLs", set{"StreamURL", nil, "MultiStreamURL", urls(10)},
			func(s *relay.Spec) (any, any) { return len(s.URLs), 10 }},
		{"odd size", set{encodeP + "VideoWidth", "1279", encodeP + "VideoHeight", "17"},
			func(s *relay.Spec) (any, any) { return []int{s.Encode.Width, s.Encode.Height}, []int{1278, 16} }},
		{"everyone takes part", set{"TranscodeParams.UserInfos", nil, pane1 + "UserInfo.UserId", "anyone", pane1 + "UserInfo.SourceType", "shareScreen"},
			func(s *relay.Spec) (any, any) {
				return *s.Panes[0].User, relay.UserRef{User: "anyone", Source: media.ShareScreen}
			}},
		{"camera and screen of one user", set{"TranscodeParams.UserInfos.2.UserId", "111", "TranscodeParams.UserInfos.2.ChannelId", nil,
			"TranscodeParams.UserInfos.2.SourceType", "shareScreen", "TranscodeParams.UserInfos.2.StreamType", "2",
			pane2 + "UserInfo.UserId", "111", pane2 + "UserInfo.SourceType", "shareScreen"},
			func(s *relay.Spec) (any, any) {
				return *s.Panes[1].User, relay.UserRef{User: "111", Source: media.ShareScreen, Type: relay.VideoOnly}
			}},
		{"another channel", set{pane2 + "UserInfo.UserId", "222", pane2 + "UserInfo.ChannelId", "ch2"},
			func(s *relay.Spec) (any, any) { return s.Panes[1].User.Channel, "ch2" }},
		{"audio only", set{encodeP + "AudioOnly", "true", encodeP + "VideoWidth", nil, "TranscodeParams.Layout", nil},
			func(s *relay.Spec) (any, any) {
				return s.Encode, relay.Encode{AudioOnly: true, AudioKbps: 128, Channels: 2, SampleRate: 48000}
			}},
		{"preset and profile", set{encodeP + "EnhancedParam", `{"profile": "baseline", "preset": "placebo", "tune": "film"}`},
			func(s *relay.Spec) (any, any) {
				return []string{s.Encode.Profile, s.Encode.Preset}, []string{"baseline", "placebo"}
			}},
		{"srt", set{"StreamURL", "srt://h:9000?streamid=#!::m=publish,r=live/a&latency=120"},
			func(s *relay.Spec) (got, want any) {
				return s.URLs, []string{"srt://h:9000?streamid=#!::m=publish,r=live/a&latency=120"}
			}},
		{"rtmps and query", set{"StreamURL", "rtmps://[::1]:443/live/room/a?auth_key=1-0-0-x&y=z"},
			func(s *relay.Spec) (any, any) {
				return s.URLs, []string{"rtmps://[::1]:443/live/room/a?auth_key=1-0-0-x&y=z"}
			}},
		{"single: the source counts for video alone", set{"MixMode", "0", "SingleSubParams.UserId", "u", "SingleSubParams.SourceType", "shareScreen"},
			func(s *relay.Spec) (any, any) { return s.From, relay.UserRef{User: "u", Source: media.Camera} }},
		{"single: video of the screen", set{"MixMode", "0", "SingleSubParams.UserId", "u", "SingleSubParams.SourceType", "shareScreen", "SingleSubParams.StreamType", "2"},
			func(s *relay.Spec) (any, any) {
				return s.From, relay.UserRef{User: "u", Source: media.ShareScreen, Type: relay.VideoOnly}
			}},
		{"older SDK's extra fields", set{"MixMode", "0", "SingleSubParams.UserId", "u", "SingleSubParams.MixAudioUserIds", []any{"a", "b"}},
			func(s *relay.Spec) (any, any) { return s.Echo["SingleSubParams"], map[string]any{"UserId": "u"} }},
		{"older SDK's extra fields of the layout", set{"TranscodeParams.Layout.LayoutMode", "1", "TranscodeParams.Layout.MaxVideoUser.UserId", "u"},
			func(s *relay.Spec) (any, any) {
				return len(s.Echo["TranscodeParams"].(map[string]any)["Layout"].(map[string]any)), 1
			}},
		{"no SEI", set{"SeiParams", nil}, func(s *relay.Spec) (any, any) { return s.SEI, (*relay.SEI)(nil) }},
		{"SEI rules", set{"SeiParams.LayoutVolume.FollowIdr", "0", "SeiParams.LayoutVolume.Interval", nil, "SeiParams.PassThrough.Interval", "5000", "SeiParams.PassThrough.PayloadContentKey", nil, "SeiParams.PayloadType", nil},
			func(s *relay.Spec) (any, any) {
				return *s.SEI, relay.SEI{PayloadType: 5, Key: "udd", Content: "hi", Layout: &relay.SEIRule{}, PassThrough: &relay.SEIRule{Interval: 5 * time.Second}}
			}},
	} {
		b := baseTree(t)
		for i := 0; i < len(c.set); i += 2 {
			edit(t, b, c.set[i].(string), c.set[i+1])
		}
		dotted := map[string]string{}
		flatten("", b, dotted)
		for encoding, params := range map[string]map[string]string{"JSON": encodeJSON(t, b), "dotted": dotted} {
			s, err := specOf(params, true)
			if err != nil {
				t.Errorf("%s, %s: %v", c.what, encoding, err)
				continue
			}
			if got, want := c.check(s); !reflect.DeepEqual(got, want) {
				t.Errorf("%s, %s: got %v, want %v", c.what, encoding, got, want)
			}
		}
	}
}

// An empty LayoutVolume is only possible in JSON, as are real numbers and booleans.
func TestJSONOnly(t *testing.T) {
	b := baseTree(t)
	params := encodeJSON(t, b)
	params["SeiParams"] = `{"LayoutVolume":{},"PassThrough":null}`
	params["TranscodeParams"] = `{"EncodeParams":{"AudioOnly":true,"AudioBitrate":128,"AudioChannels":1,"AudioSampleRate":8000}}`
	s, err := specOf(params, true)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, "SEI", s.SEI, &relay.SEI{PayloadType: 5, Key: "udd", Layout: &relay.SEIRule{FollowIDR: true}})
	diff(t, "Encode", s.Encode, relay.Encode{AudioOnly: true, AudioKbps: 128, Channels: 1, SampleRate: 8000})
	diff(t, "Echo", s.Echo["TranscodeParams"], tree(t, `{"EncodeParams":{"AudioOnly":"true","AudioBitrate":"128","AudioChannels":"1","AudioSampleRate":"8000"}}`))
}
