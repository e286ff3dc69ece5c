package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"braid/media/sfu"
	"braid/relay"
	"braid/store"
)

// mixTask makes a task in the store; the users of a mix are ann and ben.
func (s *server) mixTask(app, id string, mode relay.MixMode) {
	s.t.Helper()
	spec := relay.Spec{App: app, Channel: "ch1", Task: id, Mode: mode, URLs: []string{"rtmp://h/live/" + id},
		Users: []relay.UserRef{{User: "ann", Source: "camera"}, {User: "ben", Source: "shareScreen"}},
		Panes: []relay.Pane{{W: 1, H: 1, Crop: true, Background: "https://h/a.png"}}, Encode: relay.Encode{Width: 1280, Height: 720}}
	b, err := json.Marshal(spec)
	if err != nil {
		s.t.Fatal(err)
	}
	err = s.db.Update(s.t.Context(), func(tx *store.Tx) error {
		return tx.CreateTask(&store.Task{App: app, ID: id, Channel: "ch1", Spec: b, Content: "{}"})
	})
	if err != nil {
		s.t.Fatal(err)
	}
}

func TestLayout(t *testing.T) {
	s := start(t)
	s.do("POST", "/v1/applications", `{"id":"voice","name":"Voice"}`).expect(201)
	s.mixTask("voice", "m1", relay.Mix)
	s.mixTask("voice", "s1", relay.Single)
	const path = "/v1/applications/voice/tasks/m1/layout"
	s.do("GET", path, nil).expect(200, `"channel":"ch1"`, `"width":1280`, `"image":"https://h/a.png"`, `{"user":"ben","source":"shareScreen"}`)

	a := s.do("PUT", path, `{"panes":[{"x":0,"y":0,"width":0.5,"height":1,"z_order":2,"user":"ann"},
		{"x":0.5,"y":0,"width":0.5,"height":1,"crop":false,"user":"ben","source":"shareScreen"},{"x":0,"y":0,"width":0.1,"height":0.1,"image":"https://h/b.png"}]}`).expect(200)
	for _, want := range []string{`"z_order":2,"crop":true,"user":"ann","source":"camera"`, `"crop":false,"user":"ben","source":"shareScreen"`, `"image":"https://h/b.png"`} {
		if !strings.Contains(a.text, want) {
			t.Errorf("got %s, want %s", a.text, want)
		}
	}
	if did := s.tasks.told(); len(did) != 1 || did[0] != "update voice/m1" {
		t.Errorf("the relay was told %q", did)
	}
	if again := s.do("GET", path, nil).expect(200); again.text != a.text {
		t.Errorf("GET: got %s, PUT answered %s", again.text, a.text)
	}

	pane := `"y":0,"width":1,"height":1`
	for _, c := range []struct{ field, body, words string }{
		{"panes", `{}`, "is missing"},
		{"panes", `{"panes":[]}`, "1 to 16"},
		{"panes", `{"panes":[` + strings.Repeat(`{"x":0,`+pane+`},`, 16) + `{"x":0,` + pane + `}]}`, "1 to 16"},
		{"panes", `{"panes":{}}`, "not a list"},
		{"panes[0]", `{"panes":[1]}`, "not a JSON object"},
		{"panes[0].x", `{"panes":[{` + pane + `}]}`, "is missing"},
		{"panes[0].x", `{"panes":[{"x":1.5,` + pane + `}]}`, "from 0 to 1"},
		{"panes[0].x", `{"panes":[{"x":"0",` + pane + `}]}`, "not a number"},
		{"panes[0].z_order", `{"panes":[{"x":0,` + pane + `,"z_order":100}]}`, "0 to 99"},
		{"panes[0].source", `{"panes":[{"x":0,` + pane + `,"source":"tv"}]}`, "camera, shareScreen"},
		{"panes[0].colour", `{"panes":[{"x":0,` + pane + `,"colour":"red"}]}`, "no such field"},
	} {
		s.do("PUT", path, c.body).field(c.field, c.words)
	}
	s.do("PUT", path, `{"panes":[{"x":0.5,`+pane+`}]}`).expect(400, "more than 1")
	s.do("PUT", path, `{"panes":[{"x":0,`+pane+`,"user":"eve"}]}`).expect(400, "eve")
	s.do("PUT", path, `{"panes":[{"x":0,`+pane+`,"image":"ftp://h/a"}]}`).expect(400)
	for _, p := range []string{"/v1/applications/voice/tasks/s1/layout", "/v1/applications/voice/tasks/m2/layout", "/v1/applications/other/tasks/m1/layout"} {
		s.do("GET", p, nil).expect(404)
		s.do("PUT", p, `{"panes":[{"x":0,`+pane+`}]}`).expect(404)
	}
}

func TestNode(t *testing.T) {
	s := start(t)
	s.do("POST", "/v1/applications", `{"id":"voice","name":"Voice"}`).expect(201)
	s.mixTask("voice", "m1", relay.Mix)
	s.rooms.open = []sfu.ChannelInfo{{App: "voice", Channel: "ch1", Users: []sfu.UserInfo{{ID: "ann"}, {ID: "ben"}}}}
	s.rooms.seen = []sfu.SessionInfo{{ID: "open"}, {ID: "over", Ended: time.Now()}}
	s.do("GET", "/v1/node", nil).expect(200, `"applications":1,"channels":1,"users":2,"sessions":1,"tasks":1`)
	s.do("GET", "/v1/node?x=1", nil).field("x", "")
}
