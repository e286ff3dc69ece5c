package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
)

// botSeat is a user of a conference as the SDK is one (doc/protocol.md): a socket,
// one connection up, on which camera and microphone are published, and one down with
// those of all others.
type botSeat struct {
	id       *botIdentity
	socket   *websocket.Conn
	up, down *botClient
	sections int // that down gets

	requests int
	answers  chan botSaid  // to requests; closed with the socket
	offered  chan string   // the first offer for down
	complete chan struct{} // closed once an offer has all sections
}

// botSaid is a message of either side, as far as bots use it.
type botSaid struct {
	ID        int        `json:"id,omitempty"`
	Type      string     `json:"type"`
	Code      string     `json:"code,omitempty"`
	Message   string     `json:"message,omitempty"`
	Token     string     `json:"token,omitempty"`
	Subscribe string     `json:"subscribe,omitempty"`
	User      any        `json:"user,omitempty"`   // an object in some events
	Source    any        `json:"source,omitempty"` // the same
	SDP       string     `json:"sdp,omitempty"`
	Offer     int        `json:"offer,omitempty"`
	Tracks    []botTrack `json:"tracks,omitempty"`
}

type botTrack struct {
	Mid    string `json:"mid"`
	Source string `json:"source"`
}

var botSources = []string{"microphone", "camera"} // in the order of a publisher's offer

const botAnswer = 1 << 20 // id of the requests that nobody waits for

// sit joins, and publishes what up sends; others will be watched.
func (c *botCrowd) sit(ctx context.Context, who string, up *botClient, others int) (*botSeat, error) {
	at := "ws" + strings.TrimPrefix(strings.TrimRight(c.load.url, "/"), "http") + "/v1/rtc"
	socket, _, err := websocket.Dial(ctx, at, &websocket.DialOptions{Subprotocols: []string{"braid.v1"}})
	if err != nil {
		return nil, err
	}
	socket.SetReadLimit(1 << 20)
	s := &botSeat{id: c.id, socket: socket, up: up, down: newBotClient(c.loop, false, 0), sections: others * len(botSources),
		answers: make(chan botSaid, 1), offered: make(chan string, 1), complete: make(chan struct{})}
	go s.listen(context.WithoutCancel(ctx))
	if _, err := s.ask(ctx, botSaid{Type: "join", Token: c.token(who), Subscribe: "manual"}); err != nil {
		return nil, err
	}
	answer, err := s.ask(ctx, botSaid{Type: "offer", SDP: up.offer(c.id), Tracks: []botTrack{{"0", botSources[0]}, {"1", botSources[1]}}})
	if err != nil {
		return nil, err
	}
	return s, up.meet(ctx, answer.SDP, c.id)
}

// watch takes all that some users publish, and returns when it can come.
func (s *botSeat) watch(ctx context.Context, users []string) error {
	for _, u := range users {
		for _, source := range botSources {
			if _, err := s.ask(ctx, botSaid{Type: "subscribe", User: u, Source: source}); err != nil {
				return err
			}
		}
	}
	select {
	case offer := <-s.offered:
		if err := s.down.meet(ctx, offer, s.id); err != nil {
			return err
		}
	case <-ctx.Done():
		return fmt.Errorf("no offer for what was subscribed to: %w", ctx.Err())
	}
	select {
	case <-s.complete:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("no offer of %d sections: %w", s.sections, ctx.Err())
	}
}

// ask makes a request and waits for its answer; there is one at a time.
func (s *botSeat) ask(ctx context.Context, m botSaid) (botSaid, error) {
	s.requests++
	m.ID = s.requests
	if err := wsjson.Write(ctx, s.socket, m); err != nil {
		return botSaid{}, err
	}
	select {
	case a, open := <-s.answers:
		switch {
		case !open:
			return a, fmt.Errorf("%s: the socket has closed", m.Type)
		case a.Type != "ok":
			return a, fmt.Errorf("%s: %s: %s", m.Type, a.Code, a.Message)
		}
		return a, nil
	case <-ctx.Done():
		return botSaid{}, fmt.Errorf("%s: no answer: %w", m.Type, ctx.Err())
	}
}

// listen reads the socket until it closes, and answers offers.
func (s *botSeat) listen(ctx context.Context) {
	defer close(s.answers)
	for first, missing := true, true; ; {
		var m botSaid
		if err := wsjson.Read(ctx, s.socket, &m); err != nil {
			return
		}
		switch {
		case m.Type == "offer":
			answer, taken := s.down.answer(m.SDP, s.id)
			if err := wsjson.Write(ctx, s.socket, botSaid{ID: botAnswer, Type: "answer", Offer: m.Offer, SDP: answer}); err != nil {
				return
			}
			if first {
				first = false
				s.offered <- m.SDP
			}
			if missing && taken >= s.sections {
				missing = false
				close(s.complete)
			}
		case m.ID > 0 && m.ID < botAnswer:
			s.answers <- m
		}
	}
}

func (s *botSeat) leave(ctx context.Context) {
	_ = wsjson.Write(ctx, s.socket, botSaid{ID: botAnswer, Type: "leave"}) // politely; the socket's end says it too
	s.socket.CloseNow()
}

// answer takes of each section of an offer H.264 or Opus, and says how many it takes.
func (c *botClient) answer(offer string, id *botIdentity) (answer string, taken int) {
	_, rest, _ := strings.Cut(offer, "\nm=")
	group, b := "", strings.Builder{}
	for _, section := range strings.Split(rest, "\nm=") {
		o := readBotSection(section)
		if !o.sends || len(o.formats) == 0 {
			fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n", o.kind, o.first)
		} else {
			taken++
			fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF %s\r\nc=IN IP4 0.0.0.0\r\na=recvonly\r\n", o.kind, strings.Join(o.formats, " "))
		}
		group += " " + o.mid
		fmt.Fprintf(&b, "a=mid:%s\r\na=rtcp-mux\r\na=setup:active\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\na=fingerprint:sha-256 %s\r\n",
			o.mid, c.ufrag, c.pwd, id.fingerprint)
		for _, line := range o.lines {
			b.WriteString(line + "\r\n")
		}
		if o.transport > 0 {
			c.transport.Store(uint32(o.transport))
		}
	}
	return "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE" + group + "\r\na=msid-semantic: WMS *\r\n" + b.String(), taken
}

// botSection is what a bot reads of a section that a server offers.
type botSection struct {
	kind, mid string
	sends     bool
	first     string   // format
	formats   []string // that the bot takes
	lines     []string // about them, and the transport-wide number's
	transport int      // id of that
}

func readBotSection(section string) (o botSection) {
	all := strings.FieldsFunc(section, func(r rune) bool { return r == '\r' || r == '\n' })
	media := strings.Fields(all[0])
	o.kind, o.first = media[0], media[3]
	kinds, params := map[string]string{}, map[string]string{} // by format
	for _, line := range all[1:] {
		name, value, _ := strings.Cut(strings.TrimPrefix(line, "a="), ":")
		format, about, _ := strings.Cut(value, " ")
		switch name {
		case "sendonly", "sendrecv":
			o.sends = true
		case "mid":
			o.mid = value
		case "rtpmap":
			kinds[format] = about
		case "fmtp":
			params[format] = about
		case "extmap":
			if strings.Contains(about, "transport-wide-cc") {
				o.transport, _ = strconv.Atoi(format)
				o.lines = append(o.lines, line)
			}
		}
	}
	for _, f := range media[3:] {
		mode1 := kinds[f] == "H264/90000" && strings.Contains(params[f], "packetization-mode=1") && strings.Contains(params[f], "42e01f")
		if len(o.formats) == 0 && (mode1 || kinds[f] == "opus/48000/2") {
			o.formats = append(o.formats, f)
		}
	}
	for _, f := range media[3:] {
		if len(o.formats) == 1 && params[f] == "apt="+o.formats[0] {
			o.formats = append(o.formats, f)
		}
	}
	for _, f := range o.formats {
		o.lines = append(o.lines, "a=rtpmap:"+f+" "+kinds[f])
		if params[f] != "" {
			o.lines = append(o.lines, "a=fmtp:"+f+" "+params[f])
		}
	}
	for _, line := range all[1:] {
		if f, _, _ := strings.Cut(strings.TrimPrefix(line, "a=rtcp-fb:"), " "); strings.HasPrefix(line, "a=rtcp-fb:") && len(o.formats) > 0 && f == o.formats[0] {
			o.lines = append(o.lines, line)
		}
	}
	return o
}
