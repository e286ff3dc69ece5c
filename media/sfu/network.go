package sfu

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/stun/v4"
	"github.com/pion/webrtc/v4"

	sockets "braid/media/udp"
)

const (
	socketBuffer  = 4 << 20 // bytes asked for; the kernel may give less
	tcpBuffer     = 1 << 20 // bytes waiting for one slow TCP viewer, then its packets are dropped
	tcpFirstBytes = 10 * time.Second
	keepAlive     = 2 * time.Second // between our own STUN indications
)

// network is the server's one UDP socket and one TCP listener, shared by all
// sessions (ICE muxes tell them apart by user fragment), and the addresses
// that clients are told.
type network struct {
	socket   *sockets.Conn // under inlet
	inlet    *inlet        // under udp
	udp      *ice.UDPMuxDefault
	tcp      *ice.TCPMuxDefault
	listener *boundedListener
	settings webrtc.SettingEngine
	addresses
	traces     *traces
	endFinding func() // returns when nothing asks for the public address any more
}

func listen(cfg Config) (*network, error) {
	udp, tcp, err := listenBoth(cfg.Listen)
	if err != nil {
		return nil, err
	}
	bound := udp.LocalAddr().(*net.UDPAddr).AddrPort()
	n := &network{traces: newTraces(), endFinding: func() {}}
	n.port, n.discovers = int(bound.Port()), len(cfg.STUNServers) > 0
	fail := func(err error) (*network, error) {
		return nil, errors.Join(err, udp.Close(), tcp.Close())
	}
	if n.public, err = publicIPs(cfg.PublicIPs); err != nil {
		return fail(err)
	}
	if n.own, err = ownAddresses(bound.Addr()); err != nil {
		return fail(err)
	}
	n.discovered(nil)
	// Bursts of key frames overflow the default of 208 KiB; less is no error.
	_, _ = udp.SetReadBuffer(socketBuffer), udp.SetWriteBuffer(socketBuffer)

	logs := pionLogs{cfg.Log}
	n.listener = &boundedListener{Listener: tcp, most: 2 * cfg.MaxSessions, traces: n.traces, open: map[net.Conn]struct{}{}}
	n.socket = sockets.New(udp)
	n.inlet = newInlet(n.socket, cfg.SilenceTimeout)
	tapped := &tap{inlet: n.inlet, traces: n.traces}
	if n.discovers {
		tapped.finds = &discovery{
			socket: n.socket, port: n.port, servers: cfg.STUNServers, every: discoverEvery,
			found: n.discovered, log: cfg.Log, pending: map[[stun.TransactionIDSize]byte]chan netip.AddrPort{},
		}
	}
	n.udp = ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: tapped, Logger: logs.NewLogger("udp")})
	n.tcp = ice.NewTCPMuxDefault(ice.TCPMuxParams{
		Listener:             n.listener,
		Logger:               logs.NewLogger("tcp"),
		ReadBufferSize:       16, // packets, of which each session has room for from its beginning on
		WriteBufferSize:      tcpBuffer,
		FirstStunBindTimeout: tcpFirstBytes,
	})
	n.configure(logs, cfg.SilenceTimeout)
	if n.discovers {
		n.find(tapped.finds)
	}
	return n, nil
}

// find begins to look for the public address and waits for the first result,
// for a while: what comes late is told to those who come later.
func (n *network) find(d *discovery) {
	ctx, cancel := context.WithCancel(context.Background())
	first, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		d.run(ctx, first)
	}()
	n.endFinding = func() {
		cancel()
		<-ended
	}
	select {
	case <-first:
	case <-time.After(discoverStart):
	}
}

// configure fills the settings that all connections share.
func (n *network) configure(logs pionLogs, silence time.Duration) {
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
	e.SetICETimeouts(silence/2, silence/2, keepAlive) // disconnected, then failed
	e.SetReceiveMTU(maxPacket + 500)
	e.SetSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80)
}

// close ends the muxes and returns when their goroutines have ended.
func (n *network) close() error {
	n.endFinding()
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

// complete gives a connection's local description the server's candidates. base
// is the client's offer that it answers, "" when it is an offer itself.
func (n *network) complete(pc *webrtc.PeerConnection, base string) (string, error) {
	own := pc.LocalDescription().SDP
	text, err := withCandidates(own, cmp.Or(base, own), n.candidates())
	if err == nil {
		n.traces.told(pc, text, base != "")
	}
	return text, err
}
