package sfu

import (
	"errors"
	"fmt"

	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/media"
)

// newPeer makes a PeerConnection that knows exactly the codecs that were taken
// from the offer, under the offer's payload types. A viewer's is that of s.wire.
func (s *Session) newPeer(o *offer) (*webrtc.PeerConnection, error) {
	engine := &webrtc.MediaEngine{}
	for _, sec := range o.sections {
		for _, c := range sec.taken {
			if err := register(engine, c); err != nil {
				return nil, fmt.Errorf("sfu: register %s: %w", c, err)
			}
		}
	}
	if s.pub == nil {
		s.wire = newWire(s.srv)
		return s.viewerOf(engine, s.wire)
	}
	return s.peerOf(engine)
}

// peerOf makes a PeerConnection that goes on using engine.
func (s *Session) peerOf(engine *webrtc.MediaEngine) (*webrtc.PeerConnection, error) {
	return s.makePeer(engine, nil)
}

// viewerOf makes a PeerConnection for a viewer, and w the way out to it.
func (s *Session) viewerOf(engine *webrtc.MediaEngine, w *wire) (*webrtc.PeerConnection, error) {
	return s.makePeer(engine, w)
}

func (s *Session) makePeer(engine *webrtc.MediaEngine, w *wire) (*webrtc.PeerConnection, error) {
	boxes := &inboxes{wire: w, flooded: func() { s.end(event.Normal, "a connection brings too many streams") }}
	registry := &interceptor.Registry{}
	registry.Add(boxes) // next to the packets: what others read first has no count
	extensions := viewerExtensions
	if w == nil {
		boxes.up, extensions = newUplink(s.srv.net.inlet, &s.srv.receptions), publisherExtensions
		registry.Add(boxes.up.counts)
	}
	if err := extensions(engine); err != nil {
		return nil, fmt.Errorf("sfu: set up header extensions: %w", err)
	}
	settings := s.srv.net.settings
	seen := s.srv.net.traces.begin(s, &settings)
	nominate(&settings, seen.proved)
	if w != nil {
		w.hook(&settings, seen)
	} else {
		boxes.up.hook(&settings, seen)
	}
	settings.BufferFactory = boxes.make
	settings.DisableMediaEngineCopy(true) // each connection has its own already
	api := webrtc.NewAPI(
		webrtc.WithMediaEngine(engine),
		webrtc.WithInterceptorRegistry(registry),
		webrtc.WithSettingEngine(settings),
	)
	pc, err := api.NewPeerConnection(webrtc.Configuration{Certificates: []webrtc.Certificate{s.srv.cert}})
	if err != nil {
		return nil, fmt.Errorf("sfu: make a connection: %w", err)
	}
	seen.watch(pc)
	if w != nil {
		w.over(pc, seen)
	} else {
		boxes.up.over(pc, seen)
	}
	return pc, nil
}

func register(engine *webrtc.MediaEngine, c codec) error {
	kind := webrtc.RTPCodecTypeAudio
	if c.name.Video() {
		kind = webrtc.RTPCodecTypeVideo
	}
	for _, p := range parameters(c) {
		if err := engine.RegisterCodec(p, kind); err != nil {
			return err
		}
	}
	return nil
}

// parameters are a codec's in Pion's words, and those of its retransmissions or of
// packets that repeat others.
func parameters(c codec) []webrtc.RTPCodecParameters {
	params := webrtc.RTPCodecParameters{
		PayloadType: webrtc.PayloadType(c.payload),
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType:    mimeType(c.name),
			ClockRate:   uint32(c.name.ClockRate()),
			SDPFmtpLine: c.fmtp,
		},
	}
	if !c.name.Video() {
		params.Channels = 2
		params.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "transport-cc"}}
		if c.red == 0 {
			return []webrtc.RTPCodecParameters{params}
		}
		redundant := params
		redundant.PayloadType = webrtc.PayloadType(c.red)
		redundant.MimeType = "audio/red"
		redundant.SDPFmtpLine = fmt.Sprintf("%d/%[1]d", c.payload)
		return []webrtc.RTPCodecParameters{params, redundant}
	}
	params.RTCPFeedback = []webrtc.RTCPFeedback{
		{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}, {Type: "transport-cc"},
	}
	if c.rtx == 0 {
		return []webrtc.RTPCodecParameters{params}
	}
	return []webrtc.RTPCodecParameters{params, {
		PayloadType: webrtc.PayloadType(c.rtx),
		RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType:    webrtc.MimeTypeRTX,
			ClockRate:   90000,
			SDPFmtpLine: fmt.Sprintf("apt=%d", c.payload),
		},
	}}
}

func mimeType(c media.Codec) string {
	if c.Video() {
		return "video/" + string(c)
	}
	return "audio/" + string(c)
}

// publisherExtensions are those of what comes in. Transport-wide numbers are for the
// feedback without which browsers stay at 300 kbit/s (reception). Lost packets are asked
// for by layer: Pion would not see that retransmissions have come.
func publisherExtensions(engine *webrtc.MediaEngine) error {
	return errors.Join(
		extendBoth(engine, sdp.SDESMidURI, sdp.TransportCCURI),
		extend(engine, webrtc.RTPCodecTypeVideo, sdp.SDESRTPStreamIDURI, sdp.SDESRepairRTPStreamIDURI, dependencyURI),
		extend(engine, webrtc.RTPCodecTypeAudio, sdp.AudioLevelURI),
	)
}

// extendBoth registers header extensions of sound and pictures.
func extendBoth(engine *webrtc.MediaEngine, uris ...string) error {
	return errors.Join(extend(engine, webrtc.RTPCodecTypeAudio, uris...), extend(engine, webrtc.RTPCodecTypeVideo, uris...))
}

func extend(engine *webrtc.MediaEngine, kind webrtc.RTPCodecType, uris ...string) error {
	for _, uri := range uris {
		if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, kind); err != nil {
			return err
		}
	}
	return nil
}

// viewerExtensions are those of what goes out. There are no interceptors: each would
// cost every packet to every viewer. Requests for lost packets are answered by
// resender. Sender reports are the publisher's own, passed on by forward: only these
// keep lips and words together. The transport-wide number is the wire's.
func viewerExtensions(engine *webrtc.MediaEngine) error {
	return errors.Join(extendBoth(engine, sdp.TransportCCURI), extend(engine, webrtc.RTPCodecTypeVideo, dependencyURI))
}

// transportID is the negotiated id of the transport-wide number's extension, 0
// when packets go without: there is none, or no place for it in a header of
// one-byte extensions (RFC 8285 section 4.2), or packets are sent again as they
// were, and so cannot have another number each time.
func transportID(c webrtc.TrackLocalContext, again bool) uint8 {
	for _, e := range c.HeaderExtensions() {
		if e.URI == sdp.TransportCCURI && e.ID > 0 && e.ID < 15 && !again {
			return uint8(e.ID)
		}
	}
	return 0
}

// extensionOf is the negotiated id of a header extension, 0 when there is none.
func extensionOf(receiver *webrtc.RTPReceiver, uri string) uint8 {
	for _, e := range receiver.GetParameters().HeaderExtensions {
		if e.URI == uri && e.ID > 0 && e.ID < 256 {
			return uint8(e.ID)
		}
	}
	return 0
}

// audioLevel reads the extension: level in -dBov and the voice flag.
func audioLevel(h *rtp.Header, id uint8) (level int8, voice bool) {
	if id == 0 {
		return -1, false
	}
	b := h.GetExtension(id)
	if len(b) == 0 {
		return -1, false
	}
	return int8(b[0] & 0x7f), b[0]&0x80 != 0
}
