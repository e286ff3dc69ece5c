package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pion/stun/v4"

	"braid/media/sfu"
	"braid/mixer/wire"
)

// machine is one that braid runs on, or is to run on, while it is looked at.
type machine struct {
	*doctor
	cfg     config
	running bool // a braid of these settings answers
}

// server makes the checks of the machine that braid runs on, or is to run on.
func (d *doctor) server(name string) {
	m := &machine{doctor: d, cfg: defaults()}
	if name == "" {
		m.ok("settings", "The defaults hold: no --config was given.")
	} else {
		cfg, err := readConfig(name)
		if err != nil {
			m.fail("settings", "Correct the file; README.md has all settings.", "%v.", err)
			return
		}
		m.cfg = cfg
		m.ok("settings", "%s is in order.", name)
	}
	m.data()
	m.ports()
	m.addresses()
	m.datagrams()
	m.limits()
	m.worker()
	m.web()
	m.local()
}

const (
	littleSpace = 1 << 30
	noSpace     = 100 << 20
)

// data looks at the directory of what is kept.
func (m *machine) data() {
	dir := m.cfg.DataDir
	const do = "Give it to the user that braid runs as, or set data_dir to another place."
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		parent := existing(dir)
		if err := writable(parent); err != nil {
			m.fail("data", do, "%s is not there and cannot be made: %v.", dir, err)
			return
		}
		m.ok("data", "%s will be made at the first start.", dir)
		dir = parent
	} else if err != nil || !info.IsDir() {
		m.fail("data", do, "%s cannot be used: %v.", dir, err)
		return
	} else if err := writable(dir); err != nil {
		m.fail("data", do, "%s cannot be written to: %v.", dir, err)
		return
	}
	free, ok := freeSpace(dir)
	switch {
	case !ok:
	case free < noSpace:
		m.fail("space", "Make room: when the disk is full nothing that changes state is taken.", "%s has %d MiB left.", dir, free>>20)
	case free < littleSpace:
		m.warn("space", "Make room in time.", "%s has only %d MiB left.", dir, free>>20)
	default:
		m.ok("space", "%s is writable and has %.1f GiB left.", dir, float64(free)/(1<<30))
	}
}

// existing is the nearest folder upwards that is there.
func existing(dir string) string {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return dir
	}
	for {
		up := filepath.Dir(abs)
		if _, err := os.Stat(up); err == nil || up == abs {
			return up
		}
		abs = up
	}
}

func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".braid-doctor-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// ports looks whether each is free, or held by a braid.
func (m *machine) ports() {
	if is := m.runningBraid(); is != "" {
		m.running = true
		m.ok("ports", "%s runs here already and answers at %s.", is, reachable(m.cfg.HTTP.Listen))
	}
	for _, p := range []struct{ field, network, addr string }{
		{"http.listen", "tcp", m.cfg.HTTP.Listen}, {"rtmp.listen", "tcp", m.cfg.RTMP.Listen},
		{"media.listen", "tcp", m.cfg.Media.Listen}, {"media.listen", "udp", m.cfg.Media.Listen},
	} {
		err := bindable(p.network, p.addr)
		name := p.field + " " + strings.ToUpper(p.network) + " " + p.addr
		switch {
		case err == nil && m.running:
			m.fail("ports", "Compare the settings that the running braid was started with.", "%s is free, though a braid runs: it listens elsewhere.", name)
		case err == nil:
			m.ok("ports", "%s is free.", name)
		case m.running && (errors.Is(err, syscall.EADDRINUSE) || errors.Is(err, syscall.EACCES)): // 443, asked by a user without rights
		case errors.Is(err, syscall.EADDRINUSE):
			by := holder(p.network, p.addr)
			m.fail("ports", "End that program, or set "+p.field+" to another port.", "%s is held by %s.", name, by)
		case errors.Is(err, syscall.EACCES):
			m.fail("ports", "Let the service have CAP_NET_BIND_SERVICE (systemd: AmbientCapabilities), or take a port from 1024 on.", "%s may not be opened by this user.", name)
		case errors.Is(err, syscall.EADDRNOTAVAIL):
			m.fail("ports", "Set "+p.field+" to an address of this machine, or to :port for all.", "%s: this machine does not have the address.", name)
		default:
			m.fail("ports", "Correct "+p.field+".", "%s cannot be opened: %v.", name, err)
		}
	}
}

func bindable(network, addr string) error {
	if network == "udp" {
		c, err := net.ListenPacket("udp", addr)
		if err == nil {
			c.Close()
		}
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err == nil {
		l.Close()
	}
	return err
}

// runningBraid is the version of the braid that holds the HTTP port; "" when
// none does.
func (m *machine) runningBraid() string {
	if bindable("tcp", m.cfg.HTTP.Listen) == nil {
		return ""
	}
	ctx, cancel := context.WithTimeout(m.ctx, doctorDial)
	defer cancel()
	resp, err := getHealth(ctx, m.cfg.httpURL(m.cfg.HTTP.Listen), m.cfg.HTTP.Listen)
	if err != nil {
		return ""
	}
	resp.Body.Close()
	return serverVersion(resp)
}

// addresses looks at what clients will be told.
func (m *machine) addresses() {
	addrs, err := sfu.Addresses(m.cfg.Media.Listen, m.cfg.publicIPs())
	if err != nil {
		m.fail("addresses", "Set media.listen to an address of this machine, or to :8189 for all.", "No address can be told to clients: %v.", err)
		return
	}
	if servers := m.cfg.stunServers(); len(servers) > 0 {
		found, err := m.discover(servers)
		if err != nil {
			m.fail("addresses", "Allow UDP out to the STUN server, or write the public address into media.public_ips instead of auto.", "The public address is not found: %v.", err)
		} else {
			m.ok("addresses", "A STUN server sees this machine as %s.", found)
			addrs = append([]netip.Addr{found}, addrs...)
		}
	}
	told := "Clients are told " + join(slices.Compact(addrs)) + "."
	public := slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsPrivate() && !a.IsLoopback() })
	const do = "For users elsewhere set media.public_ips: [auto], or the public address itself, and forward UDP and TCP of the media port to this machine."
	switch {
	case !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !a.IsLoopback() }):
		m.warn("addresses", "Set media.listen to :8189 to be reached from other machines; Firefox and GStreamer do not connect to loopback alone.", "%s Only this machine can connect.", told)
	case !public:
		m.warn("addresses", do, "%s They are all private: only the same network can connect.", told)
	default:
		m.ok("addresses", "%s", told)
	}
	if slices.ContainsFunc(addrs, func(a netip.Addr) bool { return a.Is6() && !a.IsLoopback() && !a.IsPrivate() }) {
		m.ok("IPv6", "Clients can connect over it.")
	} else {
		m.skip("IPv6", "No public IPv6 address is told: clients connect over IPv4.")
	}
}

// discover asks as the server does, from the media port when it is free.
func (m *machine) discover(servers []string) (netip.Addr, error) {
	c, err := net.ListenPacket("udp4", m.cfg.Media.Listen)
	if err != nil {
		if c, err = net.ListenPacket("udp4", ":0"); err != nil {
			return netip.Addr{}, err
		}
	}
	defer c.Close()
	var failed []error
	for _, server := range servers {
		a, err := askSTUN(c, server)
		if err == nil {
			return a, nil
		}
		failed = append(failed, fmt.Errorf("%s: %w", server, err))
	}
	return netip.Addr{}, errors.Join(failed...)
}

// askSTUN asks a STUN server for the address that it sees (RFC 8489).
func askSTUN(c net.PacketConn, server string) (netip.Addr, error) {
	to, err := net.ResolveUDPAddr("udp4", server)
	if err != nil {
		return netip.Addr{}, err
	}
	request, err := stun.Build(stun.TransactionID, stun.BindingRequest)
	if err != nil {
		return netip.Addr{}, err
	}
	buf := make([]byte, 1500)
	for range 3 {
		if _, err := c.WriteTo(request.Raw, to); err != nil {
			return netip.Addr{}, err
		}
		c.SetReadDeadline(time.Now().Add(knockEvery))
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			continue
		}
		answer := &stun.Message{Raw: buf[:n]}
		var mapped stun.XORMappedAddress
		if answer.Decode() == nil && answer.TransactionID == request.TransactionID && mapped.GetFrom(answer) == nil {
			if a, ok := netip.AddrFromSlice(mapped.IP); ok {
				return a.Unmap(), nil
			}
		}
	}
	return netip.Addr{}, errSilent
}

// datagrams sends one through the media port to each address of its own.
func (m *machine) datagrams() {
	if m.running {
		m.skip("UDP", "The media port is the running braid's; the call at the end goes through it.")
		return
	}
	c, err := net.ListenPacket("udp", m.cfg.Media.Listen)
	if err != nil {
		return // told with the ports
	}
	defer c.Close()
	port := c.LocalAddr().(*net.UDPAddr).Port
	addrs, err := sfu.Addresses(m.cfg.Media.Listen, nil)
	if err != nil {
		return
	}
	var deaf []string
	for _, a := range addrs {
		if !loops(c, netip.AddrPortFrom(a, uint16(port))) {
			deaf = append(deaf, a.String())
		}
	}
	if len(deaf) > 0 {
		m.fail("UDP", "Let the machine's own firewall (nft, iptables, ufw) accept UDP to this port.", "Datagrams to port %d do not arrive at %s, sent on this very machine.", port, strings.Join(deaf, ", "))
		return
	}
	m.ok("UDP", "Datagrams to the media port arrive, sent on this machine. Whether they do from outside shows `braid doctor --url` on another machine.")
}

// loops tells whether a datagram from this machine arrives.
func loops(c net.PacketConn, to netip.AddrPort) bool {
	from, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return false
	}
	defer from.Close()
	want := secret(8)
	if _, err := from.Write([]byte(want)); err != nil {
		return false
	}
	c.SetReadDeadline(time.Now().Add(time.Second))
	buf := make([]byte, 100)
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return false
		}
		if string(buf[:n]) == want {
			return true
		}
	}
}

const (
	socketWanted = 4 << 20 // what the server asks for (media/sfu)
	filesWanted  = 4096
)

// limits looks at what the system allows.
func (m *machine) limits() {
	for _, name := range []string{"rmem_max", "wmem_max"} {
		have, ok := sysctl("net.core." + name)
		switch {
		case !ok:
		case have < socketWanted:
			m.warn("buffers", fmt.Sprintf("sysctl -w net.core.%s=%d, and the same line in /etc/sysctl.d/.", name, socketWanted),
				"The kernel gives a socket at most %d KiB (net.core.%s): bursts of large channels may be lost.", have>>10, name)
		default:
			m.ok("buffers", "net.core.%s is %d KiB.", name, have>>10)
		}
	}
	files, ok := openFiles()
	switch {
	case !ok:
	case files < filesWanted:
		m.warn("files", "Raise it (systemd: LimitNOFILE=65536; a shell: ulimit -n 65536).", "A process may open only %d files and connections.", files)
	default:
		m.ok("files", "A process may open %d files and connections.", files)
	}
}

// worker starts the media worker.
func (m *machine) worker() {
	program, err := m.cfg.mixerProgram()
	if err != nil {
		m.fail("mixer", "Build it beside braid (make build), or set mixer.program to where it is.", "%v.", err)
		return
	}
	ctx, cancel := context.WithTimeout(m.ctx, doctorHTTP)
	defer cancel()
	out, err := exec.CommandContext(ctx, program, "--version").CombinedOutput()
	text := strings.TrimSpace(string(out))
	switch {
	case err != nil:
		m.fail("mixer", "Install the libraries that it names (README.md, or make on this machine).", "%s does not start: %v: %.300s", program, err, text)
	case !strings.HasSuffix(text, fmt.Sprintf(", wire %d", wire.Version)):
		m.fail("mixer", "Build both programs from one version.", "%s is of another version than this braid: it says %q, and wire %d is needed.", program, text, wire.Version)
	default:
		m.ok("mixer", "It starts: %s.", text)
	}
}

// web looks at what browsers need of HTTP.
func (m *machine) web() {
	switch {
	case loopback(m.cfg.HTTP.Listen):
		m.skip("HTTP", "It is for this machine alone (%s): put a TLS proxy before it for others.", m.cfg.HTTP.Listen)
	case !strings.HasPrefix(m.cfg.HTTP.PublicURL, "https://"):
		m.warn("HTTP", "Put a TLS proxy in front and set http.public_url to its https:// address: off this machine, browsers give a page the camera only over https.",
			"It is open to others without TLS (%s).", m.cfg.HTTP.Listen)
	default:
		m.ok("HTTP", "Others come in by %s.", m.cfg.HTTP.PublicURL)
	}
}

// local makes a call with the running server, when a key of it is known.
func (m *machine) local() {
	if !m.running {
		return
	}
	app, ok := m.application()
	if !ok {
		m.skip("call", "No application's key is in the settings or in %s, so no call was made.", m.cfg.DataDir)
		return
	}
	m.client(doctorOptions{url: m.cfg.httpURL(m.cfg.HTTP.Listen), app: app.ID, key: app.Key, within: time.Second, here: true}, nil)
}

// application is one whose key the settings or the first start's credentials
// have. Unlike the server it makes nothing.
func (m *machine) application() (application, bool) {
	if len(m.cfg.Applications) > 0 {
		return m.cfg.Applications[0], true
	}
	var kept credentials
	b, err := os.ReadFile(filepath.Join(m.cfg.DataDir, "credentials.json"))
	if err != nil || json.Unmarshal(b, &kept) != nil || len(kept.Applications) == 0 {
		return application{}, false
	}
	return kept.Applications[0], true
}
