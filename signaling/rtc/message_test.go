package rtc

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"braid/media/sfu"
	"braid/signaling/token"
)

var (
	yes          = true
	goodMessages = map[string]request{
		`{"id":1,"type":"join","token":"t","role":"viewer","subscribe":"manual","resume":{"session":"s","seq":7},"name":"Ann","more":1}`: {1, "join",
			&joinBody{"t", "Ann", token.Viewer, "manual", &resumeBody{"s", 7}}},
		`{"id":0,"type":"token","token":"t"}`: {0, "token", &tokenBody{"t"}},
		`{"id":2,"type":"offer","sdp":"v=0","tracks":[{"mid":"0","source":"shareAudio"}]}`: {2, "offer",
			&offerBody{"v=0", []sfu.OfferedTrack{{MID: "0", Source: sfu.ShareAudio}}}},
		`{"id":3,"type":"answer","sdp":"v=0","offer":4}`:                                                  {3, "answer", &answerBody{"v=0", 4}},
		`{"id":4,"type":"restart","connection":"down"}`:                                                   {4, "restart", &restartBody{"down"}},
		`{"id":5,"type":"unpublish","source":"camera"}`:                                                   {5, "unpublish", &sourceBody{sfu.Camera, nil}},
		`{"id":6,"type":"mute","source":"microphone","muted":true}`:                                       {6, "mute", &sourceBody{sfu.Microphone, &yes}},
		`{"id":7,"type":"role","role":"streamer"}`:                                                        {7, "role", &roleBody{token.Streamer}},
		`{"id":8,"type":"subscribe","user":"u","source":"camera","width":640,"height":360,"paused":true}`: {8, "subscribe", &subscribeBody{"u", sfu.Camera, 640, 360, true}},
		`{"id":9,"type":"unsubscribe","user":"u","source":"camera"}`:                                      {9, "unsubscribe", &subscribeBody{"u", sfu.Camera, 0, 0, false}},
		`{"id":10,"type":"data","to":["a","b"],"topic":"x","payload":{"a":[1]},"reliable":true}`: {10, "data",
			&dataBody{[]string{"a", "b"}, "x", json.RawMessage(`{"a":[1]}`), &yes}},
		`{"id":11,"type":"layout","task":"t","panes":[{}]}`: {11, "layout", &layoutBody{"t", json.RawMessage(`[{}]`)}},
		`{"id":12,"type":"leave"}`:                          {12, "leave", nil},
		`{"id":9007199254740992,"type":"ping"}`:             {1 << 53, "ping", nil},
	}
	badMessages = []string{
		``, `[]`, `"join"`, `null`, `{`, `{"type":"ping"}`, `{"id":-1,"type":"ping"}`, `{"id":1.5,"type":"ping"}`, `{"id":"1","type":"ping"}`,
		`{"id":1}`, `{"id":1,"type":"dance"}`, `{"id":1,"type":7}`, "{\"id\":1,\"type\":\"\xff\"}",
		`{"id":1,"type":"join"}`, `{"id":1,"type":"join","token":"t","role":"king"}`, `{"id":1,"type":"join","token":"t","subscribe":"some"}`,
		`{"id":1,"type":"join","token":"t","resume":{"seq":-1}}`, `{"id":1,"type":"join","token":"t","name":"` + strings.Repeat("ä", 65) + `"}`,
		`{"id":1,"type":"offer"}`, `{"id":1,"type":"offer","sdp":"v","tracks":[{"mid":"0","source":"face"}]}`, `{"id":1,"type":"offer","sdp":"v","tracks":[{"source":"camera"}]}`,
		`{"id":1,"type":"offer","sdp":"v","tracks":[{},{},{},{},{}]}`, `{"id":1,"type":"answer","offer":1}`, `{"id":1,"type":"answer","sdp":"v","offer":"1"}`,
		`{"id":1,"type":"restart","connection":"sideways"}`, `{"id":1,"type":"mute","source":"camera"}`, `{"id":1,"type":"unpublish","source":""}`,
		`{"id":1,"type":"role"}`, `{"id":1,"type":"subscribe","source":"camera"}`, `{"id":1,"type":"subscribe","user":"u","source":"camera","width":-1}`,
		`{"id":1,"type":"subscribe","user":"u","source":"camera","height":1e9}`, `{"id":1,"type":"data"}`, `{"id":1,"type":"data","to":[],"payload":1}`,
		`{"id":1,"type":"data","to":["a","a"],"payload":1}`, `{"id":1,"type":"data","topic":"` + strings.Repeat("t", 65) + `","payload":1}`,
		`{"id":1,"type":"data","payload":"` + strings.Repeat("p", maxPayload) + `"}`, `{"id":1,"type":"layout","task":"t"}`, `{"id":1,"type":"layout","panes":[]}`,
	}
)

func TestParse(t *testing.T) {
	for text, want := range goodMessages {
		if got, err := parse([]byte(text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v %+v, %v", text, got, got.body, err)
		}
	}
	for _, text := range badMessages {
		_, err := parse([]byte(text))
		var f *failure
		if !errors.As(err, &f) || f.code != invalid && f.code != unknown {
			t.Errorf("%.80s: got %v, want a failure", text, err)
		}
	}
}

// FuzzParse: nothing panics, what is accepted keeps the bounds, and every
// refusal is in words.
func FuzzParse(f *testing.F) {
	for text := range goodMessages {
		f.Add([]byte(text))
	}
	for _, text := range badMessages {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := parse(text)
		var told *failure
		if err != nil {
			if !errors.As(err, &told) || told.message == "" {
				t.Fatalf("%q: %v", text, err)
			}
			return
		}
		if r.id < 0 || r.id > 1<<53 {
			t.Fatalf("id %d", r.id)
		}
		switch b := r.body.(type) {
		case *dataBody:
			if len(b.Payload) > maxPayload || len(b.To) > maxTo || !json.Valid(b.Payload) {
				t.Fatalf("%q: %+v", text, b)
			}
			encode(fields{"payload": b.Payload})
		case *offerBody:
			for _, o := range b.Tracks {
				if !o.Source.Valid() || o.MID == "" {
					t.Fatalf("%q: %+v", text, b)
				}
			}
		case *subscribeBody:
			if b.Width < 0 || b.Width > maxSize || !b.Source.Valid() {
				t.Fatalf("%q: %+v", text, b)
			}
		}
	})
}
