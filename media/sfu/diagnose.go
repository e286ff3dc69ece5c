package sfu

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pion/webrtc/v4"
)

// SessionInfo is what the server saw of a session on its way to be connected:
// the answer to "why does it not work?". Sessions without WebRTC have none.
type SessionInfo struct {
	ID, App, Channel, User string
	Agent                  string // the client's User-Agent; "" unknown
	Began                  time.Time
	Ended                  time.Time // zero: open
	Reason                 string    // why it ended, in words
	Connections            []ConnectionInfo
}

// Failed tells whether the trouble of one of the connections is the reason to
// remember a session that has ended.
func (s *SessionInfo) Failed() bool {
	return slices.ContainsFunc(s.Connections, func(c ConnectionInfo) bool { return c.Diagnosis.Code.Failure() })
}

// ConnectionInfo is what the server saw of one connection, in the order in which
// things have to happen. A time is zero for what has not happened.
type ConnectionInfo struct {
	Kind     string // publish, watch; of a participant: up, down
	Began    time.Time
	Told     []string // the server's candidates, as in a=candidate
	Arrivals []Arrival
	// Local and Remote are the pair that the client chose, as host:port.
	Transport, Local, Remote string
	Selected                 time.Time
	DTLS                     string // new, connecting, connected, failed, closed
	DTLSBegan, DTLSFinished  time.Time
	SRTP                     string // the protection profile; "" unknown, as where the client wants to be the DTLS server
	Received, Sent           uint32 // packets without STUN; Sent only those that Pion sends
	LastReceived             time.Time
	State                    string // Pion's: new, connecting, connected, disconnected, failed, closed
	Problem                  string // what Pion says of it
	Diagnosis                Diagnosis
}

// Arrival is an address that STUN requests for a connection came from.
type Arrival struct {
	Transport   string // udp or tcp
	Address     string // host:port
	Requests    int    // that came
	Answered    int    // of these, with the right password: the server answered
	First, Last time.Time

	from netip.AddrPort
}

// Code says for machines how a connection does.
type Code string

const (
	OK             Code = "ok"              // connected
	Waiting        Code = "waiting"         // too early to tell
	NoMedia        Code = "no_media"        // connected, and the publisher sends nothing
	NothingArrived Code = "nothing_arrived" // no packet of the client
	PrivateOnly    Code = "private_address" // the same, and only private addresses were told
	WrongPassword  Code = "wrong_password"  // STUN requests that were not of this session
	NotChosen      Code = "not_chosen"      // requests were answered, and no pair was chosen
	DTLSUnfinished Code = "dtls_unfinished" // the handshake stays without an end
	DTLSFailed     Code = "dtls_failed"     // the handshake failed
	WentSilent     Code = "went_silent"     // it was connected, then nothing came any more
	Ended          Code = "ended"           // it was connected, and closed
	LeftEarly      Code = "left_early"      // closed by a side before it was connected
)

// Failure tells whether a code is of a connection that should have worked.
func (c Code) Failure() bool {
	switch c {
	case OK, Waiting, NoMedia, Ended, LeftEarly:
		return false
	}
	return true
}

// Diagnosis is a connection's state for machines and for people.
type Diagnosis struct {
	Code Code
	Says string // what happened, in one sentence
	Do   string // what to open or set; "" when there is nothing to do
}

const (
	tooEarly  = 4 * time.Second // to say that nothing arrives: browsers begin within one
	mediaTime = 5 * time.Second // for a publisher to begin
)

// Sessions lists the open WebRTC sessions and the last 100 that failed, the
// newest first.
func (s *Server) Sessions() []SessionInfo {
	x := s.net.traces
	x.mu.RLock()
	open := make([]*record, 0, len(x.open))
	for _, r := range x.open {
		open = append(open, r)
	}
	all := slices.Clone(x.failed)
	x.mu.RUnlock()
	for _, r := range open {
		all = append(all, x.show(r))
	}
	slices.SortFunc(all, func(a, b SessionInfo) int {
		return cmp.Or(b.Began.Compare(a.Began), cmp.Compare(a.ID, b.ID))
	})
	// One that ended meanwhile is there as it was and as it is.
	return slices.CompactFunc(all, func(a, b SessionInfo) bool { return a.ID == b.ID })
}

// show makes what is told of a session. It asks Pion, so no lock may be held.
func (x *traces) show(r *record) SessionInfo {
	s := r.session
	info := SessionInfo{ID: s.id, App: s.where.app, Channel: s.where.channel, User: s.user, Began: r.began}
	x.mu.RLock()
	info.Agent = r.agent
	list := slices.Clone(r.traces)
	x.mu.RUnlock()
	if s.stopped() {
		info.Ended, info.Reason = time.Now(), s.reason
	}
	for _, t := range list {
		c := t.show()
		c.Diagnosis = x.diagnose(&c, info.Reason)
		info.Connections = append(info.Connections, c)
	}
	return info
}

func (x *traces) diagnose(c *ConnectionInfo, ended string) Diagnosis {
	return diagnose(c, circumstances{
		now: time.Now(), ended: ended, kind: c.Kind,
		heardUDP: unixNano(x.heardUDP.Load()), heardTCP: unixNano(x.heardTCP.Load()),
	})
}

func unixNano(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}

func (t *trace) show() ConnectionInfo {
	t.mu.Lock()
	pc := t.pc
	c := ConnectionInfo{
		Kind: t.kind, Began: t.began, Told: t.told, Arrivals: slices.Clone(t.arrivals),
		Selected: t.selected, DTLS: cmp.Or(t.dtls, "new"), DTLSBegan: t.begun, DTLSFinished: t.secured, SRTP: t.profile, Problem: t.warning,
	}
	if t.pair != nil {
		c.Transport = t.pair.Remote.Protocol.String()
		c.Local, c.Remote = hostPort(t.pair.Local), hostPort(t.pair.Remote)
	}
	t.mu.Unlock()
	if pc == nil {
		return c
	}
	c.State = pc.ConnectionState().String()
	if stats, ok := pc.SCTP().Transport().ICETransport().GetSelectedCandidatePairStats(); ok {
		c.Received, c.Sent = stats.PacketsReceived, stats.PacketsSent
		c.LastReceived = stats.LastPacketReceivedTimestamp.Time()
	}
	return c
}

func hostPort(c *webrtc.ICECandidate) string {
	if ip, err := netip.ParseAddr(c.Address); err == nil {
		return netip.AddrPortFrom(ip.Unmap(), c.Port).String()
	}
	return fmt.Sprintf("%s:%d", c.Address, c.Port)
}

// circumstances are what a diagnosis needs besides the connection.
type circumstances struct {
	now                time.Time
	ended              string // the reason, "" while the session is open
	kind               string
	heardUDP, heardTCP time.Time // any client
}

// diagnose says how a connection does: it looks for the first step that did not
// happen.
//
//	answer → STUN request → with the right password → pair chosen → DTLS begun → finished → media
func diagnose(c *ConnectionInfo, in circumstances) Diagnosis {
	age := in.now.Sub(c.Began)
	requests, proved := 0, 0
	for _, a := range c.Arrivals {
		requests += a.Requests
		proved += a.Answered
	}
	switch {
	case !c.DTLSFinished.IsZero():
		return diagnoseConnected(c, in)
	case handshakeBroke(c, in.ended):
		return Diagnosis{DTLSFailed, "The path works, but the DTLS handshake failed: " + cmp.Or(c.Problem, "no reason was given") + ".", dtlsAdvice(c.Problem)}
	case in.ended != "" && (age < tooEarly || len(c.Told) == 0):
		return Diagnosis{LeftEarly, "The session ended before it could be connected: " + in.ended + ".", ""}
	case age < tooEarly:
		return Diagnosis{Waiting, fmt.Sprintf("It began %v ago; %s come.", age.Round(100*time.Millisecond), plural(requests, "STUN request has", "STUN requests have")), ""}
	case !c.Selected.IsZero():
		return Diagnosis{DTLSUnfinished,
			fmt.Sprintf("The client chose %s from %s, but the DTLS handshake has not ended within %v.", strings.ToUpper(c.Transport), c.Remote, since(in.now, c.Selected)),
			"Let packets of 1200 bytes and more pass between the client and the server, and turn off what inspects or rewrites UDP on the way (a VPN's MTU, a firewall's DTLS filter)."}
	case proved > 0:
		return Diagnosis{NotChosen,
			fmt.Sprintf("STUN requests came from %s and were answered, but the client never chose a path: the answers do not reach it.", froms(c.Arrivals)),
			"Let the server send from its media port to any address: allow outgoing UDP, and answers to come back the way that the requests went (no second router with another source address)."}
	case requests > 0:
		return Diagnosis{WrongPassword,
			fmt.Sprintf("STUN requests came from %s with a password that is not this session's.", froms(c.Arrivals)),
			"Make sure that the client uses the answer of this very offer, and that no proxy changes the SDP or sends requests to another server."}
	}
	return nothingArrived(c, in)
}

// handshakeBroke tells whether DTLS began and failed. A handshake that fails
// closes the connection, so that may be all that is seen.
func handshakeBroke(c *ConnectionInfo, ended string) bool {
	return !c.DTLSBegan.IsZero() && c.DTLSFinished.IsZero() && (c.DTLS == "failed" || strings.Contains(ended, "the connection is closed"))
}

func diagnoseConnected(c *ConnectionInfo, in circumstances) Diagnosis {
	path := fmt.Sprintf("over %s from %s", strings.ToUpper(c.Transport), c.Remote)
	sends := in.kind == "publish" || in.kind == "up"
	switch {
	case c.State == "failed" || c.State == "disconnected" || strings.Contains(in.ended, "is failed"):
		return Diagnosis{WentSilent, "It was connected " + path + ", and then nothing came from the client any more.",
			"Look at the client's network: it changed, or a firewall ends UDP flows early. Browsers come back by themselves with an ICE restart or a new session."}
	case c.State == "closed" && in.ended == "":
		return Diagnosis{Ended, "It was connected " + path + " and is closed.", ""}
	case in.ended != "":
		return Diagnosis{Ended, "It was connected " + path + " and has ended: " + in.ended + ".", ""}
	case sends && c.Received == 0 && in.now.Sub(c.DTLSFinished) > mediaTime:
		return Diagnosis{NoMedia, "It is connected " + path + ", but the client has sent no media.",
			"Look at the client: is a camera or microphone chosen, allowed and not muted?"}
	}
	says := "It is connected " + path + "."
	do := ""
	if c.Transport == "tcp" {
		do = "It works; over UDP it would have less delay: open the UDP port of the media for this client."
	}
	return Diagnosis{OK, says, do}
}

// nothingArrived says why no packet of a client may have come.
func nothingArrived(c *ConnectionInfo, in circumstances) Diagnosis {
	addrs, ports := toldAddresses(c.Told)
	where := strings.Join(addrs, ", ")
	says := fmt.Sprintf("The client was told %s, port %s over UDP and TCP, and no packet of it has come.", where, ports)
	switch others := throughs(in); {
	case !slices.ContainsFunc(addrs, func(a string) bool { ip, err := netip.ParseAddr(a); return err == nil && !private(ip) }):
		return Diagnosis{PrivateOnly, says + " These addresses lead here only from the same network.",
			"Set media.public_ips to the address under which clients reach this server, or to auto, and open UDP and TCP port " + ports + " there."}
	case others != "":
		return Diagnosis{NothingArrived, says + " " + others + ", so the server's ports are open.",
			"Look at this client's network: its firewall has to let UDP or TCP out to port " + ports + ", or give it a TURN server (ice_servers)."}
	}
	return Diagnosis{NothingArrived, says,
		"Open UDP and TCP port " + ports + " in the server's firewall and forward both at its router; if " + where + " is not the server's public address, correct media.public_ips. `braid doctor --url` shows from the client's side what answers."}
}

// toldAddresses are the addresses and the port of candidates.
func toldAddresses(told []string) (addrs []string, port string) {
	for _, line := range told {
		f := strings.Fields(line) // foundation, component, transport, priority, address, port
		if len(f) < 6 {
			continue
		}
		port = f[5]
		if !slices.Contains(addrs, f[4]) {
			addrs = append(addrs, f[4])
		}
	}
	return addrs, port
}

// throughs says that others come through.
func throughs(in circumstances) string {
	switch {
	case !in.heardUDP.IsZero():
		return fmt.Sprintf("Others came through over UDP, the last %v ago", since(in.now, in.heardUDP))
	case !in.heardTCP.IsZero():
		return fmt.Sprintf("Others came through over TCP, the last %v ago", since(in.now, in.heardTCP))
	}
	return ""
}

func since(now, then time.Time) time.Duration { return max(0, now.Sub(then)).Round(time.Second) }

func froms(all []Arrival) string {
	var words []string
	for i, a := range all {
		if i == 3 {
			words = append(words, fmt.Sprintf("%d more", len(all)-i))
			break
		}
		words = append(words, strings.ToUpper(a.Transport)+" "+a.Address)
	}
	return strings.Join(words, ", ")
}

func plural(n int, one, more string) string {
	switch n {
	case 0:
		return "no " + one
	case 1:
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func dtlsAdvice(problem string) string {
	switch {
	case strings.Contains(problem, "fingerprint"):
		return "The certificate is not the one that the offer names: make sure that nothing between client and server changes the SDP or terminates DTLS."
	case strings.Contains(problem, "deadline") || strings.Contains(problem, "timeout"):
		return "Let packets of 1200 bytes and more pass between the client and the server (a VPN's MTU, a firewall's DTLS filter)."
	}
	return "Try another client: this one and the server have no DTLS version, cipher or SRTP profile in common, or it refused the server's certificate."
}
