package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"braid/signaling"
	"braid/signaling/token"
)

const (
	doctorPayload = 111
	doctorSSRC    = 0xd0c70
	doctorEvery   = 20 * time.Millisecond // a packet of sound
	doctorLarge   = 5                     // every so many packets one is as large as packets of video are
	largeBytes    = 1150
	shakeWithin   = 6 * time.Second
)

// call publishes sound for some seconds and listens to it, as far as the token
// allows.
func (v *caller) call() {
	text, claims, ok := v.ticket()
	if !ok {
		return
	}
	if !claims.Camera && !claims.ShareScreen {
		v.skip("media", "The token of %s grants nothing to publish, so no call was made.", claims.User)
		return
	}
	source := "camera"
	if !claims.Camera {
		source = "shareScreen"
	}
	path := fmt.Sprintf("%s/%s/%s?source=%s", claims.App, claims.Channel, claims.User, source)
	up, end := v.connect("publish", v.at.String()+"/whip/"+path, text, "sendonly", true)
	defer end()
	if up == nil {
		return
	}
	sound := &tone{peer: up, stopped: make(chan struct{})}
	ctx, stop := context.WithCancel(v.ctx)
	go sound.run(ctx)
	defer func() { stop(); <-sound.stopped }()
	if !claims.Subscribe {
		waited(v.ctx, v.o.within)
		v.judgeUp(sound)
		return
	}
	down, end := v.connect("watch", v.at.String()+"/whep/"+path, text, "recvonly", false)
	defer end()
	if down == nil {
		return
	}
	heard := listen(v.ctx, down, v.o.within)
	v.judgeUp(sound)
	v.judgeDown(heard)
}

// ticket is the token to use, and what it claims.
func (v *caller) ticket() (text string, claims token.Claims, ok bool) {
	switch {
	case v.o.key != "":
		claims = token.Claims{App: v.o.app, Channel: "doctor-" + secret(6), User: "doctor", Camera: true, Subscribe: true, Expires: v.now().Add(10 * time.Minute)}
		text, err := token.SignJWT(claims, v.o.key, v.now())
		if err != nil {
			v.fail("token", "", "A token cannot be made: %v.", err)
		}
		return text, claims, err == nil
	case v.o.token == "":
		v.skip("media", "Without --token, or --app and --key, no call was made: the ports of the media were not tried.")
		return "", claims, false
	}
	claims, err := token.Peek(v.o.token)
	switch {
	case err != nil:
		v.fail("token", "Make a join token: POST /v1/applications/{app}/tokens, or on your business server.", "This is not a join token: %v.", err)
	case v.now().After(claims.Expires):
		v.fail("token", "Make a new one.", "The token ended %v ago, at %s.", v.now().Sub(claims.Expires).Round(time.Second), claims.Expires.UTC().Format(time.RFC3339))
	default:
		v.ok("token", "It is %s's for channel %s of application %s, until %s.", claims.User, claims.Channel, claims.App, claims.Expires.UTC().Format(time.RFC3339))
		return v.o.token, claims, true
	}
	return "", claims, false
}

// connect makes one session, and says of each step how it went; aloud is for the
// first, of the second only failures are told.
func (v *caller) connect(what, url, ticket, way string, aloud bool) (*doctorPeer, func()) {
	p, err := newDoctorPeer()
	if err != nil {
		v.fail(what, "", "The test client cannot be made: %v.", err)
		return nil, func() {}
	}
	text, session, ok := v.post(what, url, ticket, p.offer(way, doctorSSRC), aloud)
	if !ok {
		return nil, func() {}
	}
	end := func() {
		p.close()
		v.leave(session, ticket)
	}
	if p.sdpAnswer, err = readSDP(text); err != nil {
		v.fail(what, "Let nothing between client and server change the SDP.", "The answer cannot be used: %v.", err)
		return nil, end
	}
	chosen, ok := v.reach(p, aloud)
	if !ok {
		return nil, end
	}
	p.begin(v.ctx, chosen.conn)
	ctx, cancel := context.WithTimeout(v.ctx, shakeWithin)
	defer cancel()
	begun := time.Now()
	profile, err := p.shake(ctx)
	if err != nil {
		says, do := shakeWords(chosen, err)
		v.fail("DTLS", do, "%s", says)
		return nil, end
	}
	if aloud {
		v.ok("DTLS", "The handshake took %v over %s; %s.", round(time.Since(begun)), strings.ToUpper(chosen.transport), profile)
	}
	return p, end
}

func shakeWords(k knock, err error) (says, do string) {
	if strings.Contains(err.Error(), "fingerprint") {
		return fmt.Sprintf("The DTLS handshake fails: %v.", err), "Something between here and the server ends DTLS or changes the SDP: go around it."
	}
	return fmt.Sprintf("%s answers STUN, but the DTLS handshake fails: %v.", k.candidate, err),
		"Let packets of 1200 bytes and more pass (a VPN's or tunnel's MTU), and turn off what filters DTLS on the way."
}

// post sends an offer. A publisher that has just connected may not be known yet
// to who watches: 409 is tried again.
func (v *caller) post(what, url, ticket, offer string, aloud bool) (answer, session string, ok bool) {
	begun := time.Now()
	for {
		req, err := http.NewRequestWithContext(v.ctx, "POST", url, strings.NewReader(offer))
		if err != nil {
			v.fail(what, "", "%v.", err)
			return "", "", false
		}
		req.Header.Set("Content-Type", "application/sdp")
		req.Header.Set("Authorization", "Bearer "+ticket)
		req.Header.Set("User-Agent", "braid-doctor")
		resp, err := v.http.Do(req)
		if err != nil {
			v.fail(what, "Look at the log of the server, or of the proxy before it.", "The offer gets no answer: %v.", err)
			return "", "", false
		}
		body, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<17))
		resp.Body.Close()
		switch {
		case resp.StatusCode == http.StatusCreated:
			at, err := resp.Location()
			if err != nil {
				v.fail(what, "Let the proxy pass the header Location on.", "The answer does not say where the session is: %v.", err)
				return "", "", false
			}
			v.linked(resp, aloud)
			if aloud {
				v.ok("offer", "It was answered in %v.", round(time.Since(begun)))
			}
			return string(body), at.String(), true
		case resp.StatusCode == http.StatusConflict && !aloud && time.Since(begun) < shakeWithin && waited(v.ctx, 200*time.Millisecond):
			continue
		}
		says, do := refusalWords(resp, body)
		v.fail(what, do, "%s", says)
		return "", "", false
	}
}

// linked tells of the ICE servers.
func (v *caller) linked(resp *http.Response, aloud bool) {
	var all []string
	for _, l := range resp.Header.Values("Link") {
		if url, rest, ok := strings.Cut(strings.TrimPrefix(l, "<"), ">"); ok && strings.Contains(rest, "ice-server") {
			all = append(all, url)
		}
	}
	if aloud && len(all) > 0 {
		v.ok("ICE", "Clients are told the ICE servers %s; they were not tried.", strings.Join(all, ", "))
	}
}

// refusalWords says why an offer was refused.
func refusalWords(resp *http.Response, body []byte) (says, do string) {
	detail := strings.TrimSpace(string(body))
	var p signaling.Problem
	if json.Unmarshal(body, &p) == nil && p.Detail != "" {
		detail = p.Detail
	}
	if len(detail) > maxBodyShown {
		detail = detail[:maxBodyShown] + "…"
	}
	says = fmt.Sprintf("The offer is refused with %s: %s.", resp.Status, strings.TrimSuffix(detail, "."))
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		do = "The token is not accepted: it has to be signed with this server's AppKey for this application, and not be expired. A proxy has to pass the header Authorization on."
	case http.StatusForbidden:
		do = "The token is for another channel or user, does not grant this, or its application is disabled."
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		do = "The server has too much to do or is about to end: try again, look at its load."
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		do = "Let the proxy pass /whip/ and /whep/ to braid."
	case http.StatusConflict:
		do = "What was just published is not there: look at the server's log."
	default:
		do = "Look at the server's log."
	}
	return says, do
}

// reach tries every candidate at once and takes the best that answers: UDP
// before TCP.
func (v *caller) reach(p *doctorPeer, aloud bool) (knock, bool) {
	results := make([]knock, len(p.candidates))
	var wg sync.WaitGroup
	for i, c := range p.candidates {
		wg.Go(func() { results[i] = p.knock(v.ctx, c) })
	}
	wg.Wait()
	best := -1
	for i, k := range results {
		switch {
		case k.err != nil:
		case best < 0, k.transport == "udp" && results[best].transport == "tcp",
			k.transport == results[best].transport && k.rtt < results[best].rtt:
			best = i
		}
	}
	for i, k := range results {
		if k.err == nil && i != best {
			k.conn.Close()
		}
	}
	if aloud || best < 0 {
		v.tellPaths(results)
	}
	if best < 0 {
		return knock{}, false
	}
	return results[best], true
}

// tellPaths says of each candidate whether it answers, and what that means. One
// that does not matters only when no other of its transport does: servers tell
// the addresses of all their networks.
func (v *caller) tellPaths(all []knock) {
	if len(all) == 0 {
		v.fail("media", "Look at the server's log: it has to find an address, or be told one by media.public_ips.", "The server offers no address at all.")
		return
	}
	works := map[string]bool{}
	for _, k := range all {
		works[k.transport] = works[k.transport] || k.err == nil
	}
	for _, k := range all {
		switch {
		case k.err == nil:
			v.ok(strings.ToUpper(k.transport), "%s answers in %v.", k.at, round(k.rtt))
		case v.o.here && !k.at.Addr().IsLoopback():
			v.warn(strings.ToUpper(k.transport), "Try from another network: `braid doctor --url`. Many routers lead nobody back in to their own public address.",
				"%s does not answer on the server itself, so it was not tried whether it does from outside.", k.at)
		case works[k.transport]:
			v.skip(strings.ToUpper(k.transport), "%s does not answer from here, and need not: another address does.", k.at)
		default:
			says, do := v.pathWords(k, works)
			v.fail(strings.ToUpper(k.transport), do, "%s", says)
		}
	}
}

// pathWords says why a candidate may not answer.
func (v *caller) pathWords(k knock, works map[string]bool) (says, do string) {
	name, port := strings.ToUpper(k.transport), k.at.Port()
	says = fmt.Sprintf("%s %s does not answer", name, k.at)
	switch {
	case errors.Is(k.err, syscall.ECONNREFUSED):
		says += ": that machine says that nothing listens there"
	case errors.Is(k.err, syscall.ENETUNREACH), errors.Is(k.err, syscall.EHOSTUNREACH):
		says += ": this network has no way there"
	}
	if k.transport == "udp" && works["tcp"] {
		says += ", TCP does"
	}
	says += "."
	outside := slices.ContainsFunc(v.addrs, func(a netip.Addr) bool { return !a.IsPrivate() && !a.IsLoopback() })
	switch a := k.at.Addr().Unmap(); {
	case a.IsLoopback() && outside, a.IsPrivate() && outside:
		do = fmt.Sprintf("This address leads to the server only inside its own network: set media.public_ips: [auto], or to the public address (%s is %s), and open UDP and TCP port %d there.", v.at.Hostname(), join(v.addrs), port)
	case !slices.Contains(v.addrs, a) && !works["udp"] && !works["tcp"]:
		do = fmt.Sprintf("The server tells this address; the HTTP address is %s. Correct media.public_ips if it is wrong; else open UDP and TCP port %d there.", join(v.addrs), port)
	case k.transport == "udp" && works["tcp"]:
		do = fmt.Sprintf("Open UDP port %d in the server's firewall and forward it at its router; viewers fall back to TCP meanwhile, with more delay on bad networks. If it is open, this network lets no UDP out.", port)
	case k.transport == "tcp" && works["udp"]:
		do = fmt.Sprintf("Open TCP port %d as well: it is the way for users whose network lets no UDP out.", port)
	default:
		do = fmt.Sprintf("Open UDP and TCP port %d in the server's firewall, and forward both at its router.", port)
	}
	return says, do
}

// leave ends a session.
func (v *caller) leave(session, ticket string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(v.ctx), doctorHTTP)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "DELETE", session, nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+ticket)
	if resp, err := v.http.Do(req); err == nil {
		resp.Body.Close()
	}
}

// tone is sound on its way up. All but the counters is owned by run.
type tone struct {
	peer      *doctorPeer
	stopped   chan struct{} // closed by run
	sent      atomic.Int64
	confirmed atomic.Int64 // up to which packet the server's last report goes
	lost      atomic.Int64 // of these
}

const firstSeq = 1000

// run sends until ctx ends.
func (t *tone) run(ctx context.Context) {
	defer close(t.stopped)
	tick := time.NewTicker(doctorEvery)
	defer tick.Stop()
	for n := 0; ; n++ {
		p := rtp.Packet{
			Header:  rtp.Header{Version: 2, PayloadType: doctorPayload, SSRC: doctorSSRC, SequenceNumber: uint16(firstSeq + n), Timestamp: uint32(960 * n)},
			Payload: silence(n%doctorLarge == 0),
		}
		if b, err := p.Marshal(); err == nil {
			if b, err = t.peer.out.EncryptRTP(nil, b, nil); err == nil {
				_, _ = t.peer.conn.Write(b) // lost, as on any network
				t.sent.Add(1)
			}
		}
		for waiting := true; waiting; {
			select {
			case <-ctx.Done():
				return
			case b := <-t.peer.media:
				t.report(b)
			case <-tick.C:
				waiting = false
			}
		}
	}
}

// report reads what the server says of what it got.
func (t *tone) report(b []byte) {
	plain, err := t.peer.in.DecryptRTCP(nil, b, nil)
	if err != nil {
		return
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	for _, p := range packets {
		rr, ok := p.(*rtcp.ReceiverReport)
		if !ok {
			continue
		}
		for _, r := range rr.Reports {
			if r.SSRC == doctorSSRC {
				t.confirmed.Store(int64(r.LastSequenceNumber) - firstSeq + 1)
				t.lost.Store(int64(r.TotalLost))
			}
		}
	}
}

// silence is 20 ms of Opus that a decoder hears as nothing; a large one is
// padded (RFC 6716 section 3.2.5), and its padding says when it was made.
func silence(large bool) []byte {
	if !large {
		return []byte{0xf8, 0xff, 0xfe}
	}
	const frames = 0x41 // code 3: one frame, padding follows
	b := []byte{0xfb, frames, 255, 255, 255, 255, largeBytes - 4*254 - 9}
	b = append(b, 0xff, 0xfe)
	b = append(b, make([]byte, largeBytes-len(b))...)
	binary.BigEndian.PutUint64(b[len(b)-8:], uint64(time.Now().UnixNano()))
	return b
}

// hearing is what came back.
type hearing struct {
	got, lost, large int
	delay            time.Duration // of the large packets, the median: up and down again
}

// listen counts what comes for a while, from the first packet on.
func listen(ctx context.Context, p *doctorPeer, within time.Duration) (h hearing) {
	timer := time.NewTimer(shakeWithin)
	defer timer.Stop()
	var delays []time.Duration
	var first, last uint16
	for {
		select {
		case <-ctx.Done():
			return h
		case <-timer.C:
			if h.got > 0 {
				h.lost = max(0, int(last-first)+1-h.got)
				slices.Sort(delays)
				if len(delays) > 0 {
					h.delay = delays[len(delays)/2]
				}
			}
			return h
		case b := <-p.media:
			plain, err := p.in.DecryptRTP(nil, b, nil)
			var packet rtp.Packet
			if err != nil || packet.Unmarshal(plain) != nil { // SRTCP too
				continue
			}
			if h.got == 0 {
				first, last = packet.SequenceNumber, packet.SequenceNumber
				timer.Reset(within)
			}
			h.got++
			if int16(packet.SequenceNumber-last) > 0 {
				last = packet.SequenceNumber
			}
			if n := len(packet.Payload); n == largeBytes {
				h.large++
				delays = append(delays, time.Since(time.Unix(0, int64(binary.BigEndian.Uint64(packet.Payload[n-8:])))))
			}
		}
	}
}

// judgeUp says whether the server got what was sent.
func (v *caller) judgeUp(t *tone) {
	confirmed, lost := t.confirmed.Load(), t.lost.Load()
	switch {
	case confirmed == 0:
		v.fail("sending", "Look at /v1/sessions on the server for what it received.",
			"%d packets of sound were sent, and the server has confirmed none.", t.sent.Load())
	case 20*lost > confirmed:
		v.warn("sending", "Look at the network between here and the server. One packet of five had "+fmt.Sprint(largeBytes)+" bytes: if about a fifth is lost, a tunnel or VPN on the way has too small an MTU.",
			"%d of the first %d packets were lost on the way to the server.", lost, confirmed)
	default:
		v.ok("sending", "The server confirms the first %d packets, %d lost.", confirmed, lost)
	}
}

// judgeDown says whether what was published comes back.
func (v *caller) judgeDown(h hearing) {
	const mtu = "Lower the MTU of the tunnel or VPN on the way to what it really carries, or let it fragment: packets of video have 1200 bytes."
	share := 0.0
	if h.got > 0 {
		share = float64(h.lost) / float64(h.got+h.lost)
	}
	switch {
	case h.got == 0:
		v.fail("receiving", "Look at the server's log, and at /v1/sessions.", "Nothing of what was published comes back.")
	case h.large == 0:
		v.fail("receiving", mtu, "Small packets come back, those of %d bytes do not.", largeBytes)
	case share > 0.05:
		v.warn("receiving", "Look at the network between here and the server: pictures will freeze now and then.", "%.0f %% of the packets were lost, of %d.", 100*share, h.got+h.lost)
	default:
		v.ok("receiving", "The sound comes back after %v, %d packets, %d lost.", round(h.delay), h.got, h.lost)
	}
}
