package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"braid/media"
	"braid/media/sfu"
)

// session is what the server saw of a WebRTC session: why it works or not.
type session struct {
	ID          string       `json:"id"`
	App         string       `json:"app"`
	Channel     string       `json:"channel"`
	User        string       `json:"user"`
	Agent       string       `json:"agent,omitempty"`
	Began       time.Time    `json:"began"`
	Ended       *time.Time   `json:"ended,omitempty"`
	Reason      string       `json:"reason,omitempty"`
	Connections []connection `json:"connections"`
}

type connection struct {
	Kind         string     `json:"kind"`
	State        string     `json:"state"`
	Began        time.Time  `json:"began"`
	Candidates   []string   `json:"candidates"`
	Arrivals     []arrival  `json:"arrivals"`
	Pair         *pair      `json:"pair,omitempty"`
	DTLS         handshake  `json:"dtls"`
	SRTP         string     `json:"srtp,omitempty"`
	Received     uint32     `json:"received"`
	LastReceived *time.Time `json:"last_received,omitempty"`
	Diagnosis    diagnosis  `json:"diagnosis"`
}

type arrival struct {
	Transport string    `json:"transport"`
	Address   string    `json:"address"`
	Requests  int       `json:"requests"`
	Answered  int       `json:"answered"`
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
}

type pair struct {
	Transport string    `json:"transport"`
	Local     string    `json:"local"`
	Remote    string    `json:"remote"`
	Chosen    time.Time `json:"chosen"`
}

type handshake struct {
	State    string     `json:"state"`
	Began    *time.Time `json:"began,omitempty"`
	Finished *time.Time `json:"finished,omitempty"`
	Problem  string     `json:"problem,omitempty"`
}

type diagnosis struct {
	Code sfu.Code `json:"code"`
	Says string   `json:"says"`
	Do   string   `json:"do,omitempty"`
}

// moment is nil for a time that has not come.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

func showSession(s sfu.SessionInfo) session {
	out := session{ID: s.ID, App: s.App, Channel: s.Channel, User: s.User, Agent: strings.ToValidUTF8(s.Agent, "?"),
		Began: s.Began.UTC(), Ended: moment(s.Ended), Reason: s.Reason, Connections: []connection{}}
	for _, c := range s.Connections {
		out.Connections = append(out.Connections, showConnection(c))
	}
	return out
}

func showConnection(c sfu.ConnectionInfo) connection {
	out := connection{
		Kind: c.Kind, State: c.State, Began: c.Began.UTC(), Candidates: append([]string{}, c.Told...), Arrivals: []arrival{},
		DTLS: handshake{c.DTLS, moment(c.DTLSBegan), moment(c.DTLSFinished), c.Problem}, SRTP: c.SRTP,
		Received: c.Received, LastReceived: moment(c.LastReceived),
		Diagnosis: diagnosis{c.Diagnosis.Code, c.Diagnosis.Says, c.Diagnosis.Do},
	}
	for _, a := range c.Arrivals {
		out.Arrivals = append(out.Arrivals, arrival{a.Transport, a.Address, a.Requests, a.Answered, a.First.UTC(), a.Last.UTC()})
	}
	if !c.Selected.IsZero() {
		out.Pair = &pair{c.Transport, c.Local, c.Remote, c.Selected.UTC()}
	}
	return out
}

// listSessions lists the open sessions and those that failed lately, the newest
// first. A page shows each as it is at that moment.
func (h *Handler) listSessions(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	limit, state := q.limit(), q.oneOf("state", "open", "failed")
	app, channel, user := q.text("app", 64), q.text("channel", 64), q.text("user", 64)
	after := q.sessionCursor()
	if err := q.done(); err != nil {
		return nil, err
	}
	var rows []sfu.SessionInfo
	for _, s := range h.rooms.Sessions() { // sorted
		switch {
		case app != "" && s.App != app, channel != "" && s.Channel != channel, user != "" && s.User != user:
		case state == "open" && !s.Ended.IsZero(), state == "failed" && !s.Failed():
		case after.before(s) && len(rows) <= limit:
			rows = append(rows, s)
		}
	}
	at := func(s sfu.SessionInfo) string { return fmt.Sprintf("%d %s", s.Began.UnixNano(), s.ID) }
	return ok(newPage(rows, limit, "sessions", at, showSession))
}

// sessionPlace is a place in the list; the zero value is its beginning.
type sessionPlace struct {
	began int64
	id    string
}

// before tells whether a session comes after the place.
func (p sessionPlace) before(s sfu.SessionInfo) bool {
	began := s.Began.UnixNano()
	return p.id == "" || began < p.began || began == p.began && s.ID > p.id
}

func (q *query) sessionCursor() (p sessionPlace) {
	text := q.cursor("sessions")
	if text == "" {
		return p
	}
	began, id, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(began, 10, 64)
	if err != nil || id == "" {
		q.refuse("cursor", "it is not a cursor of this list")
	}
	return sessionPlace{n, id}
}

func (h *Handler) getSession(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	for _, s := range h.rooms.Sessions() {
		if s.ID == c.params["session"] {
			return ok(showSession(s))
		}
	}
	return nil, fmt.Errorf("there is no open session %s, nor is it among the last that failed: %w", quote(c.params["session"]), media.ErrNotFound)
}
