package sfu

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	"github.com/pion/dtls/v3/pkg/protocol/handshake"
	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"
)

const (
	maxFailed   = 100 // failed sessions that are remembered
	maxPerTrace = 16  // addresses a connection's requests came from
	maxTraces   = 4   // connections of one session; a participant may begin some anew
	maxTold     = 20  // candidates
	maxAgent    = 256 // bytes of a user agent
)

// traces remembers how each connection came about: for those that are open, and
// for the last that failed. Nothing of it is on the way of media: it is told of
// STUN requests, states of connections, and descriptions.
type traces struct {
	// When somebody last proved to be a client, in Unix nanoseconds: it tells
	// whether the trouble is one client's or everyone's.
	heardUDP, heardTCP atomic.Int64

	mu      sync.RWMutex
	open    map[*Session]*record
	byUfrag map[string]*trace // ours, of descriptions that were given out
	byPC    map[*webrtc.PeerConnection]*trace
	failed  []SessionInfo // the oldest first
}

// record is what is remembered of a session.
type record struct {
	session *Session
	began   time.Time
	agent   string
	traces  []*trace
}

// trace is what was seen of one connection.
type trace struct {
	in     *traces
	kind   string
	began  time.Time
	ufrags []string // of in.byUfrag; guarded by in.mu
	stray  bool     // made while the session ended: nobody will ask

	mu       sync.Mutex // taken last
	pc       *webrtc.PeerConnection
	told     []string
	answered time.Time
	arrivals []Arrival
	pair     *webrtc.ICECandidatePair
	selected time.Time
	dtls     string
	begun    time.Time // DTLS
	secured  time.Time
	profile  string
	warning  string // Pion's last words
}

func newTraces() *traces {
	return &traces{open: map[*Session]*record{}, byUfrag: map[string]*trace{}, byPC: map[*webrtc.PeerConnection]*trace{}}
}

// recordLocked finds or makes the record of a session; it wants mu held.
func (x *traces) recordLocked(s *Session) *record {
	r := x.open[s]
	if r == nil {
		r = &record{session: s, began: time.Now()}
		x.open[s] = r
	}
	return r
}

// begin makes the trace of a session's next connection, and lets it see what
// Pion tells of it. It is called before the connection is made.
func (x *traces) begin(s *Session, settings *webrtc.SettingEngine) *trace {
	t := &trace{in: x, kind: kindOf(s), began: time.Now()}
	settings.SetDTLSServerHelloMessageHook(t.greeted)
	settings.LoggerFactory = traceLogs{settings.LoggerFactory, t}
	x.mu.Lock()
	defer x.mu.Unlock()
	if s.stopped() { // its record may be closed already
		t.stray = true
		return t
	}
	r := x.recordLocked(s)
	if len(r.traces) == maxTraces {
		x.dropLocked(r.traces[0])
		r.traces = r.traces[1:]
	}
	r.traces = append(r.traces, t)
	return t
}

// kindOf says what a session's connection is for; a participant's says it by
// what it is asked to do (see told).
func kindOf(s *Session) string {
	switch {
	case s.participant != nil:
		return "down"
	case s.pub != nil:
		return "publish"
	}
	return "watch"
}

// watch follows a connection from its beginning.
func (t *trace) watch(pc *webrtc.PeerConnection) {
	t.mu.Lock()
	t.pc = pc
	t.mu.Unlock()
	if !t.stray {
		t.in.mu.Lock()
		t.in.byPC[pc] = t
		t.in.mu.Unlock()
	}
	transport := pc.SCTP().Transport()
	transport.OnStateChange(t.secure)
	transport.ICETransport().OnSelectedCandidatePairChange(t.chosen)
}

// told notes a description that a client gets: whose ufrag comes in STUN requests
// from then on, and the candidates in it. answers tells that the client offered.
func (x *traces) told(pc *webrtc.PeerConnection, text string, answers bool) {
	x.mu.Lock()
	t := x.byPC[pc]
	if t == nil {
		x.mu.Unlock()
		return
	}
	ufrag := attributes(text, "ice-ufrag", 1)
	if len(ufrag) > 0 && x.byUfrag[ufrag[0]] != t {
		x.byUfrag[ufrag[0]] = t
		t.ufrags = append(t.ufrags, ufrag[0])
	}
	x.mu.Unlock()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.told, t.answered = attributes(text, "candidate", maxTold), time.Now()
	if t.kind == "down" && answers {
		t.kind = "up"
	}
}

// attributes are the values of an SDP attribute, each once.
func attributes(text, name string, most int) []string {
	var all []string
	have := map[string]bool{}
	for line := range strings.Lines(text) {
		value, ok := strings.CutPrefix(strings.TrimSpace(line), "a="+name+":")
		if ok && !have[value] && len(all) < most {
			have[value] = true
			all = append(all, value)
		}
	}
	return all
}

// request is a STUN request that names our side of a session. It proves nothing.
func (x *traces) request(user []byte, transport string, from netip.AddrPort) {
	x.mu.RLock()
	t := x.byUfrag[string(user)]
	x.mu.RUnlock()
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.arrivalLocked(transport, netip.AddrPortFrom(from.Addr().Unmap(), from.Port())); a != nil {
		a.Requests++
		a.Last = time.Now()
	}
}

// arrivalLocked finds what came from an address; nil when there are too many.
func (t *trace) arrivalLocked(transport string, from netip.AddrPort) *Arrival {
	for i := range t.arrivals {
		if a := &t.arrivals[i]; a.from == from && a.Transport == transport {
			return a
		}
	}
	if len(t.arrivals) == maxPerTrace {
		return nil
	}
	t.arrivals = append(t.arrivals, Arrival{Transport: transport, Address: from.String(), First: time.Now(), from: from})
	return &t.arrivals[len(t.arrivals)-1]
}

// proved is Pion's callback for a STUN request whose integrity was right and
// that has been answered. The result says not to use the pair for it alone.
func (t *trace) proved(_ *stun.Message, _, remote ice.Candidate, _ *ice.CandidatePair) bool {
	now := time.Now()
	transport, heard := "udp", &t.in.heardUDP
	if remote.NetworkType().IsTCP() {
		transport, heard = "tcp", &t.in.heardTCP
	}
	heard.Store(now.UnixNano())
	ip, err := netip.ParseAddr(remote.Address())
	if err != nil {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if a := t.arrivalLocked(transport, netip.AddrPortFrom(ip.Unmap(), uint16(remote.Port()))); a != nil {
		a.Answered++
		a.Requests = max(a.Requests, a.Answered) // over TCP only the first passes the tap
		a.Last = now
	}
	return false
}

// chosen is Pion's callback for the pair that the client chose.
func (t *trace) chosen(pair *webrtc.ICECandidatePair) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pair = pair
	if t.selected.IsZero() {
		t.selected = time.Now()
	}
}

// secure is Pion's callback for DTLS, called with the transport's lock held.
func (t *trace) secure(state webrtc.DTLSTransportState) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dtls != webrtc.DTLSTransportStateFailed.String() { // then Pion closes it, which says less
		t.dtls = state.String()
	}
	switch state {
	case webrtc.DTLSTransportStateConnecting:
		t.begun = time.Now()
	case webrtc.DTLSTransportStateConnected:
		t.secured = time.Now()
	}
}

// greeted is Pion's callback for its ServerHello, which says what was agreed on.
// We are the DTLS server, unless the client insists.
func (t *trace) greeted(hello handshake.MessageServerHello) handshake.Message {
	for _, e := range hello.Extensions {
		if use, ok := e.(*extension.UseSRTP); ok && len(use.ProtectionProfiles) == 1 {
			t.mu.Lock()
			t.profile = profileName(use.ProtectionProfiles[0])
			t.mu.Unlock()
		}
	}
	return &hello
}

// profileName is the name in IANA's registry.
func profileName(p dtls.SRTPProtectionProfile) string {
	switch p {
	case dtls.SRTP_AEAD_AES_128_GCM:
		return "SRTP_AEAD_AES_128_GCM"
	case dtls.SRTP_AES128_CM_HMAC_SHA1_80:
		return "SRTP_AES128_CM_SHA1_80"
	}
	return fmt.Sprintf("0x%04x", uint16(p))
}

// end is called while a session's connections are still there, and what it
// returns when they have been closed and Pion has said why: then the traces are
// forgotten. What failed is remembered for a while.
func (x *traces) end(s *Session) (closed func()) {
	x.mu.RLock()
	r := x.open[s]
	x.mu.RUnlock()
	if r == nil {
		return func() {}
	}
	info := x.show(r) // asks Pion, so without a lock
	return func() { x.forget(s, r, info) }
}

func (x *traces) forget(s *Session, r *record, info SessionInfo) {
	for i := range info.Connections {
		t, c := r.traces[i], &info.Connections[i]
		if !handshakeBroke(c, info.Reason) {
			continue // what Pion says of a connection that we close means nothing
		}
		t.mu.Lock()
		c.DTLS, c.Problem = cmp.Or(t.dtls, "new"), t.warning
		t.mu.Unlock()
		c.Diagnosis = x.diagnose(c, info.Reason)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.open, s)
	for _, t := range r.traces {
		x.dropLocked(t)
	}
	if info.Failed() {
		if len(x.failed) == maxFailed {
			x.failed = append(x.failed[:0:0], x.failed[1:]...)
		}
		x.failed = append(x.failed, info)
	}
}

func (x *traces) dropLocked(t *trace) {
	for _, u := range t.ufrags {
		if x.byUfrag[u] == t {
			delete(x.byUfrag, u)
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(x.byPC, t.pc)
	t.pc = nil
}

// traceLogs lets a trace hear why Pion gave a connection up: nothing but its log
// tells.
type traceLogs struct {
	logging.LoggerFactory
	trace *trace
}

// NewLogger implements logging.LoggerFactory.
func (l traceLogs) NewLogger(scope string) logging.LeveledLogger {
	inner := l.LoggerFactory.NewLogger(scope)
	if scope != "pc" {
		return inner
	}
	return traceLog{inner, l.trace}
}

type traceLog struct {
	logging.LeveledLogger
	trace *trace
}

// Warnf notes what Pion says when it cannot start a transport.
func (l traceLog) Warnf(format string, args ...any) {
	l.LeveledLogger.Warnf(format, args...)
	text := fmt.Sprintf(format, args...)
	if _, cause, ok := strings.Cut(text, "Failed to start manager: "); ok {
		l.trace.mu.Lock()
		defer l.trace.mu.Unlock()
		l.trace.warning = cause
	}
}

// SetAgent notes the program that a session's client says it is.
func (s *Session) SetAgent(name string) {
	x := s.srv.net.traces
	x.mu.Lock()
	defer x.mu.Unlock()
	if r := x.open[s]; r != nil {
		r.agent = name[:min(len(name), maxAgent)]
	}
}

// SetAgent notes the program that the client says it is.
func (p *Participant) SetAgent(name string) {
	x := p.session.srv.net.traces
	x.mu.Lock()
	if !p.session.stopped() {
		x.recordLocked(p.session)
	}
	x.mu.Unlock()
	p.session.SetAgent(name)
}
