package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/logging"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
	"github.com/pion/webrtc/v4/pkg/media/ivfreader"
	"github.com/pion/webrtc/v4/pkg/media/oggreader"
)

// peer is a WHIP or WHEP client made of Pion: it needs no browser, sends
// exactly the pictures of a file, and tells what it receives.
type peer struct {
	t        testing.TB
	pc       *webrtc.PeerConnection
	resource string // of the session, for DELETE
	token    string
	stop     context.CancelFunc
	ended    chan struct{} // closed when the senders have returned; nil for viewers

	began atomic.Pointer[time.Time] // when a publisher's first picture was due

	videoFrames, videoPackets, audioPackets, videoBytes atomic.Int64 // received
}

func newPeer(t testing.TB) *peer {
	t.Helper()
	settings := webrtc.SettingEngine{LoggerFactory: &logging.DefaultLoggerFactory{Writer: io.Discard}} // it speaks of every closed session
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, pc: pc}
	t.Cleanup(p.close)
	return p
}

// connect offers, with all candidates, and takes the answer.
func (p *peer) connect(endpoint, token string) error {
	offer, err := p.pc.CreateOffer(nil)
	if err != nil {
		return err
	}
	gathered := webrtc.GatheringCompletePromise(p.pc)
	if err := p.pc.SetLocalDescription(offer); err != nil {
		return err
	}
	<-gathered
	req, err := http.NewRequest("POST", endpoint, strings.NewReader(p.pc.LocalDescription().SDP))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/sdp")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST %s: %s: %s", endpoint, resp.Status, answer)
	}
	at, err := resp.Location()
	if err != nil {
		return fmt.Errorf("POST %s: %w", endpoint, err)
	}
	p.resource, p.token = at.String(), token
	return p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)})
}

// connected waits until media can flow.
func (p *peer) connected() {
	p.t.Helper()
	eventually(p.t, 10*time.Second, "WebRTC connects", func() (bool, string) {
		s := p.pc.ConnectionState()
		return s == webrtc.PeerConnectionStateConnected, s.String()
	})
}

// close ends the session at the server and here. It may be called twice.
func (p *peer) close() {
	if p.stop != nil {
		p.stop()
		<-p.ended
	}
	if p.resource != "" {
		if req, err := http.NewRequest("DELETE", p.resource, nil); err == nil {
			req.Header.Set("Authorization", "Bearer "+p.token)
			if resp, err := http.DefaultClient.Do(req); err == nil {
				resp.Body.Close()
			}
		}
		p.resource = ""
	}
	p.pc.Close()
}

// publishFile publishes a clip in real time, looped. video is "h264", "vp8", "h265"
// or "" for sound only.
func publishFile(t testing.TB, endpoint, token string, f clipFiles, fps int, video string) *peer {
	t.Helper()
	p := newPeer(t)
	sound, err := webrtc.NewTrackLocalStaticSample(opusCodec, "audio", "clip")
	if err != nil {
		t.Fatal(err)
	}
	var packets [][]byte
	if f.Opus != "" { // else the microphone is offered, and nothing comes from it
		if packets, err = oggPackets(f.Opus); err != nil {
			t.Fatal(err)
		}
	}
	p.add(sound, opusCodec)
	var picture *webrtc.TrackLocalStaticSample
	var pictures [][]byte
	if video != "" {
		codec, file, read := h264Codec, f.H264, accessUnits
		switch video {
		case "vp8":
			codec, file, read = vp8Codec, f.VP8, ivfFrames
		case "h265":
			codec, file, read = h265Codec, f.H265, h265Units
		}
		if picture, err = webrtc.NewTrackLocalStaticSample(codec, "video", "clip"); err != nil {
			t.Fatal(err)
		}
		if pictures, err = read(file); err != nil {
			t.Fatal(err)
		}
		p.add(picture, codec)
		// The coder's delay makes the sound a packet longer: cut, both loop together.
		packets = packets[:min(len(packets), len(pictures)*50/fps)]
	}
	if err := p.connect(endpoint, token); err != nil {
		t.Fatal(err)
	}
	p.connected()
	ctx, cancel := context.WithCancel(context.Background())
	p.stop, p.ended = cancel, make(chan struct{})
	go func() {
		defer close(p.ended)
		p.send(ctx, picture, pictures, time.Second/time.Duration(fps), sound, packets)
	}()
	return p
}

// add adds a track, offers its codec alone (a server takes the first it likes)
// and reads its RTCP, which the interceptors want.
func (p *peer) add(track webrtc.TrackLocal, codec webrtc.RTPCodecCapability) {
	p.t.Helper()
	transceiver, err := p.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		p.t.Fatal(err)
	}
	payloadType := map[string]webrtc.PayloadType{webrtc.MimeTypeOpus: 111, webrtc.MimeTypeVP8: 96, webrtc.MimeTypeH264: 106, webrtc.MimeTypeH265: 116}[codec.MimeType]
	if err := transceiver.SetCodecPreferences([]webrtc.RTPCodecParameters{{RTPCodecCapability: codec, PayloadType: payloadType}}); err != nil {
		p.t.Fatal(err)
	}
	go func() {
		b := make([]byte, 1500)
		for {
			if _, _, err := transceiver.Sender().Read(b); err != nil {
				return
			}
		}
	}()
}

// The codecs as publishers here offer them.
var (
	opusCodec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2, SDPFmtpLine: "minptime=10;useinbandfec=1"}
	vp8Codec  = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	h264Codec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH264, ClockRate: 90000,
		SDPFmtpLine: "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"}
	h265Codec = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeH265, ClockRate: 90000}
)

// send writes both streams from one clock. Times are computed from the start,
// so that a late wake-up does not add up.
func (p *peer) send(ctx context.Context, video *webrtc.TrackLocalStaticSample, pictures [][]byte, frame time.Duration, audio *webrtc.TrackLocalStaticSample, packets [][]byte) {
	const packet = 20 * time.Millisecond
	start := time.Now()
	p.began.Store(&start)
	v, a := 0, 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		nextAudio := start.Add(time.Duration(a) * packet)
		next, isVideo := nextAudio, false
		// The picture's n/fps must not drift: 1 s / 30 is not a whole number of ns, but 30 of them miss by 10 ns only.
		if nextVideo := start.Add(time.Duration(v) * frame); video != nil && (len(packets) == 0 || !nextVideo.After(nextAudio)) {
			next, isVideo = nextVideo, true
		}
		timer.Reset(time.Until(next))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		var err error
		if isVideo {
			err = video.WriteSample(media.Sample{Data: pictures[v%len(pictures)], Duration: frame})
			v++
		} else {
			err = audio.WriteSample(media.Sample{Data: packets[a%len(packets)], Duration: packet})
			a++
		}
		if errors.Is(err, io.ErrClosedPipe) {
			return
		}
	}
}

// watchUser subscribes and counts: pictures by their marker bits.
func watchUser(t testing.TB, endpoint, token string) (*peer, error) {
	t.Helper()
	p := newPeer(t)
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if _, err := p.pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
			t.Fatal(err)
		}
	}
	p.pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			packet, _, err := track.ReadRTP()
			if err != nil {
				return
			}
			p.count(track.Kind(), packet)
		}
	})
	return p, p.connect(endpoint, token)
}

func (p *peer) count(kind webrtc.RTPCodecType, packet *rtp.Packet) {
	if kind == webrtc.RTPCodecTypeAudio {
		p.audioPackets.Add(1)
		return
	}
	p.videoPackets.Add(1)
	p.videoBytes.Add(int64(len(packet.Payload)))
	if packet.Marker {
		p.videoFrames.Add(1)
	}
}

// accessUnits cuts an Annex B file into pictures; each slice ends one (the
// clips have one slice a picture).
func accessUnits(file string) (units [][]byte, err error) {
	return annexB(file, func(header byte) bool { return header&31 == 1 || header&31 == 5 })
}

func h265Units(file string) (units [][]byte, err error) {
	return annexB(file, func(header byte) bool { return header>>1 < 32 })
}

func annexB(file string, slice func(header byte) bool) (units [][]byte, err error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var unit []byte
	for _, nal := range bytes.Split(b, []byte{0, 0, 1}) {
		nal = bytes.TrimRight(nal, "\x00")
		if len(nal) == 0 {
			continue
		}
		unit = append(append(unit, 0, 0, 0, 1), nal...)
		if slice(nal[0]) {
			units = append(units, unit)
			unit = nil
		}
	}
	return units, nil
}

func ivfFrames(file string) (frames [][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, _, err := ivfreader.NewWith(f)
	if err != nil {
		return nil, err
	}
	for {
		frame, _, err := r.ParseNextFrame()
		if errors.Is(err, io.EOF) {
			return frames, nil
		}
		if err != nil {
			return nil, err
		}
		frames = append(frames, frame)
	}
}

// oggPackets gives the Opus packets of a file that has one packet a page.
func oggPackets(file string) (packets [][]byte, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r, _, err := oggreader.NewWith(f)
	if err != nil {
		return nil, err
	}
	for {
		packet, header, err := r.ParseNextPage()
		if errors.Is(err, io.EOF) {
			return packets, nil
		}
		if err != nil {
			return nil, err
		}
		if header.GranulePosition > 0 && !bytes.HasPrefix(packet, []byte("OpusTags")) {
			packets = append(packets, packet)
		}
	}
}

// mediaURL is the WHIP or WHEP address of a user's source.
func mediaURL(kind, base, app, channel, user, source string) string {
	return base + "/" + kind + "/" + url.PathEscape(app) + "/" + url.PathEscape(channel) + "/" + url.PathEscape(user) + "?source=" + source
}
