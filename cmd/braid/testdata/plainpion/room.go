package main

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/pion/webrtc/v4"

	"braid/signaling/token"
)

// said is as much of braid's session protocol as the bots of a conference need
// (doc/protocol.md).
type said struct {
	ID     int    `json:"id,omitempty"`
	Type   string `json:"type"`
	Token  string `json:"token,omitempty"`
	User   string `json:"user,omitempty"`
	Source string `json:"source,omitempty"`
	SDP    string `json:"sdp,omitempty"`
	Offer  int    `json:"offer,omitempty"`
	Code   string `json:"code,omitempty"`
	Text   string `json:"message,omitempty"`
}

// guest is a user of a conference.
type guest struct {
	*forwarder
	socket   *websocket.Conn
	user     string
	up, down *webrtc.PeerConnection
	offers   int
	pending  bool // an offer waits for its answer
	stale    bool // and does not name all
}

// meet serves a user until the socket closes.
func (f *forwarder) meet(w http.ResponseWriter, r *http.Request) {
	socket, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"braid.v1"}})
	if err != nil {
		return
	}
	defer socket.CloseNow()
	socket.SetReadLimit(1 << 20)
	g := &guest{forwarder: f, socket: socket}
	for _, pc := range []**webrtc.PeerConnection{&g.up, &g.down} {
		if *pc, err = f.peer(); err != nil {
			return
		}
		defer (*pc).Close()
	}
	for {
		var m said
		if wsjson.Read(r.Context(), socket, &m) != nil {
			return
		}
		answer := said{ID: m.ID, Type: "ok"}
		if answer.SDP, err = g.do(r.Context(), m); err != nil {
			answer = said{ID: m.ID, Type: "error", Code: "internal", Text: err.Error()}
		}
		if wsjson.Write(r.Context(), socket, answer) != nil {
			return
		}
	}
}

func (g *guest) do(ctx context.Context, m said) (sdp string, err error) {
	switch m.Type {
	case "join":
		g.user = userOf(m.Token)
		g.up.OnTrack(g.forward(g.up, g.user))
	case "offer":
		return accept(g.up, m.SDP)
	case "subscribe":
		if m.Source == "camera" { // both come with it
			return "", g.subscribe(ctx, m.User)
		}
	case "answer":
		g.pending = false
		err = g.down.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: m.SDP})
		if err == nil && g.stale {
			err = g.offer(ctx)
		}
	}
	return "", err
}

func (g *guest) subscribe(ctx context.Context, user string) error {
	if err := g.add(g.down, user); err != nil {
		return err
	}
	if g.stale = g.pending; g.stale {
		return nil
	}
	return g.offer(ctx)
}

func (g *guest) offer(ctx context.Context) error {
	d, err := g.down.CreateOffer(nil)
	if err != nil {
		return err
	}
	sdp, err := settle(g.down, d)
	if err != nil {
		return err
	}
	g.offers++
	g.pending, g.stale = true, false
	return wsjson.Write(ctx, g.socket, said{Type: "offer", Offer: g.offers, SDP: sdp})
}

// userOf reads a token without checking it.
func userOf(text string) string {
	t, err := token.Parse(text)
	if err != nil {
		return ""
	}
	return t.User
}
