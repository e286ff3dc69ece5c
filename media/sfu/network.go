package sfu

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

const (
	socketBuffer  = 4 << 20 // bytes asked for; the kernel may give less
	tcpBuffer     = 1 << 20 // bytes waiting for one slow TCP viewer, then its packets are dropped
	tcpFirstBytes = 10 * time.Second
)

// network is the server's one UDP socket and one TCP listener, shared by all
// sessions (ICE muxes tell them apart by user fragment), and the addresses
// that clients are told.
type network struct {
	port       int
	udp        *ice.UDPMuxDefault
	tcp        *ice.TCPMuxDefault
	listener   *boundedListener
	settings   webrtc.SettingEngine
	candidates []string // values of a=candidate, best first
}

func listen(cfg Config) (*network, error) {
	udp, tcp, err := listenBoth(cfg.Listen)
	if err != nil {
		return nil, err
	}
	n := &network{port: udp.LocalAddr().(*net.UDPAddr).Port}
	fail := func(err error) (*network, error) {
		return nil, errors.Join(err, udp.Close(), tcp.Close())
	}
	addrs, err := advertised(udp.LocalAddr().(*net.UDPAddr).AddrPort().Addr(), cfg.PublicIPs)
	if err != nil {
		return fail(err)
	}
	n.candidates = candidateLines(addrs, n.port)
	// Bursts of key frames overflow the default of 208 KiB; less is no error.
	_, _ = udp.SetReadBuffer(socketBuffer), udp.SetWriteBuffer(socketBuffer)

	logs := pionLogs{cfg.Log}
	n.listener = &boundedListener{Listener: tcp, most: 2 * cfg.MaxSessions, open: map[net.Conn]struct{}{}}
	n.udp = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: udp, Logger: logs.NewLogger("udp")})
	n.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener:             n.listener,
		Logger:               logs.NewLogger("tcp"),
		ReadBufferSize:       64,
		WriteBufferSize:      tcpBuffer,
		FirstStunBindTimeout: tcpFirstBytes,
	})
	n.configure(logs)
	return n, nil
}

// configure fills the settings that all connections share.
func (n *network) configure(logs pionLogs) {
	e := &n.settings
	e.LoggerFactory = logs
	e.SetLite(true)
	e.SetICEUDPMux(oneEachFamily{n.udp})
	e.SetICETCPMux(n.tcp)
	e.SetNetworkTypes([]webrtc.NetworkType{
		webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6, webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6,
	})
	e.SetIncludeLoopbackCandidate(true)
	e.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	e.DisableActiveTCP(true)
	e.SetICETimeouts(disconnectedAfter, failedAfter, keepAlive)
	e.SetReceiveMTU(maxPacket + 500)
	e.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
}

// close ends the muxes and returns when their goroutines have ended.
func (n *network) close() error {
	n.listener.closeAll()
	err := n.tcp.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	return errors.Join(err, n.udp.Close())
}

// listenBoth opens UDP and TCP with the same port number. With port 0 the
// number that UDP got may be taken for TCP; then another is tried.
func listenBoth(address string) (*net.UDPConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	for try := 0; ; try++ {
		pc, err := net.ListenPacket("udp", net.JoinHostPort(host, port))
		if err != nil {
			return nil, nil, err
		}
		udp := pc.(*net.UDPConn)
		number := strconv.Itoa(udp.LocalAddr().(*net.UDPAddr).Port)
		tcp, err := net.Listen("tcp", net.JoinHostPort(host, number))
		if err == nil {
			return udp, tcp, nil
		}
		udp.Close()
		if port != "0" || try == 20 {
			return nil, nil, err
		}
	}
}

// advertised lists the addresses that clients are told, best first: some
// clients try only the first.
func advertised(bound netip.Addr, public []string) ([]netip.Addr, error) {
	var addrs []netip.Addr
	for _, p := range public {
		a, err := netip.ParseAddr(p)
		if err != nil {
			return nil, fmt.Errorf("public address %q: %w", p, err)
		}
		addrs = append(addrs, a.Unmap())
	}
	if len(addrs) > 0 {
		return addrs, nil
	}
	if bound = bound.Unmap(); !bound.IsUnspecified() {
		return []netip.Addr{bound}, nil
	}
	local, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list the machine's addresses: %w", err)
	}
	for _, l := range local {
		p, err := netip.ParsePrefix(l.String())
		if err != nil {
			continue
		}
		a := p.Addr().Unmap()
		if a.IsLinkLocalUnicast() || bound.Is4() && !a.Is4() {
			continue
		}
		addrs = append(addrs, a)
	}
	slices.SortStableFunc(addrs, func(a, b netip.Addr) int { return rank(a) - rank(b) })
	if len(addrs) == 0 {
		return nil, errors.New("the machine has no address to advertise")
	}
	return addrs, nil
}

func rank(a netip.Addr) int {
	switch {
	case a.IsLoopback() && a.Is4():
		return 2
	case a.IsLoopback():
		return 3
	case a.Is4():
		return 0
	}
	return 1
}

// candidateLines writes host candidates, all UDP before all TCP. Priorities
// follow RFC 8445 section 5.1.2.1 with type preference 126 for UDP and 90 for
// TCP, so that no client prefers TCP by our numbers.
func candidateLines(addrs []netip.Addr, port int) []string {
	var lines []string
	for i, a := range addrs {
		priority := 126<<24 + (65535-i)<<8 + 255
		lines = append(lines, fmt.Sprintf("%d 1 udp %d %s %d typ host", i+1, priority, a, port))
	}
	for i, a := range addrs {
		priority := 90<<24 + (65535-i)<<8 + 255
		lines = append(lines, fmt.Sprintf("%d 1 tcp %d %s %d typ host tcptype passive", len(addrs)+i+1, priority, a, port))
	}
	return lines
}

// withCandidates puts the server's candidates into an answer to offer, in place
// of what Pion gathered, at the first section that lives (BUNDLE: it speaks for
// all). A refused section gets back its mid, which Pion leaves out and some
// clients need to make their next offer.
func withCandidates(answer, offer string, candidates []string) (string, error) {
	var desc, asked sdp.SessionDescription
	if err := errors.Join(desc.UnmarshalString(answer), asked.UnmarshalString(offer)); err != nil {
		return "", err
	}
	placed := false
	for i, m := range desc.MediaDescriptions {
		if _, ok := m.Attribute("mid"); !ok && i < len(asked.MediaDescriptions) {
			mid, _ := asked.MediaDescriptions[i].Attribute("mid")
			m.Attributes = append(m.Attributes, sdp.Attribute{Key: "mid", Value: mid}, sdp.Attribute{Key: "inactive"})
		}
		m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool {
			return a.Key == "candidate" || a.Key == "end-of-candidates"
		})
		if placed || m.MediaName.Port.Value == 0 {
			continue
		}
		placed = true
		for _, c := range candidates {
			m.Attributes = append(m.Attributes, sdp.Attribute{Key: "candidate", Value: c})
		}
		m.Attributes = append(m.Attributes, sdp.Attribute{Key: "end-of-candidates"})
	}
	text, err := desc.Marshal()
	return string(text), err
}

// oneEachFamily makes Pion gather one UDP candidate per address family instead
// of one per address of the machine: behind one socket they would all be the
// same, and each costs a goroutine per session. What clients are told is
// candidateLines' matter.
type oneEachFamily struct{ *ice.UDPMuxDefault }

func (m oneEachFamily) GetListenAddresses() []net.Addr {
	local := m.LocalAddr().(*net.UDPAddr)
	if !local.IP.IsUnspecified() {
		return []net.Addr{local}
	}
	addrs := []net.Addr{&net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: local.Port}}
	if local.IP.To4() == nil {
		addrs = append(addrs, &net.UDPAddr{IP: net.IPv6loopback, Port: local.Port})
	}
	return addrs
}

// boundedListener limits open TCP connections and can close them all: Pion's
// mux forgets those that have not spoken yet.
type boundedListener struct {
	net.Listener
	most int

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if b := l.admit(c); b != nil {
			return b, nil
		}
		c.Close()
	}
}

func (l *boundedListener) admit(c net.Conn) net.Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil || len(l.open) >= l.most {
		return nil
	}
	l.open[c] = struct{}{}
	return &boundedConn{Conn: c, listener: l}
}

// closeAll closes the listener and every connection.
func (l *boundedListener) closeAll() {
	l.Listener.Close()
	l.mu.Lock()
	open := l.open
	l.open = nil
	l.mu.Unlock()
	for c := range open {
		c.Close()
	}
}

type boundedConn struct {
	net.Conn
	listener *boundedListener
}

func (c *boundedConn) Close() error {
	c.listener.mu.Lock()
	delete(c.listener.open, c.Conn)
	c.listener.mu.Unlock()
	return c.Conn.Close()
}
