package sfu

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"braid/media"
)

// role is what the client of an offer does.
type role int

const (
	publishing role = iota
	watching
	participating // as publishing, but what only receives is inactive
)

// offer is a client's SDP offer, checked against what RFC 9725 section 4 and
// draft-ietf-wish-whep allow. Its description is then cut down to exactly what
// will be answered, so that Pion has nothing left to choose.
type offer struct {
	role     role
	desc     *sdp.SessionDescription
	sections []*section // in the offer's order
	ufrag    string     // ICE user fragment, one for all sections (BUNDLE)
}

// section is an m-line.
type section struct {
	kind   string // audio or video
	desc   *sdp.MediaDescription
	active bool     // media flows here
	known  bool     // an earlier offer of the connection had it
	codecs []codec  // those known here, in the client's order
	names  string   // all that are offered, for error messages
	taken  []codec  // what take chose; empty or one
	rids   []string // the simulcast layers that take chose, the smallest first
}

// parseOffer reads an offer and says in words what is wrong with it:
// media.ErrInvalid when it is not an offer at all, ErrUnsupported when it asks
// for too much.
func parseOffer(text string, r role) (*offer, error) {
	o, err := readOffer(text, r)
	if err != nil {
		return nil, err
	}
	return o, o.check()
}

// readOffer is parseOffer for any number of sections.
func readOffer(text string, r role) (*offer, error) {
	if len(text) > MaxOffer {
		return nil, fmt.Errorf("%w: the offer has %d bytes, at most %d are read", media.ErrInvalid, len(text), MaxOffer)
	}
	o := &offer{role: r, desc: &sdp.SessionDescription{}}
	if err := o.desc.UnmarshalString(text); err != nil {
		return nil, fmt.Errorf("%w: the offer is not SDP: %w", media.ErrInvalid, err)
	}
	if len(o.desc.MediaDescriptions) == 0 {
		return nil, fmt.Errorf("%w: the offer has no media section", media.ErrInvalid)
	}
	if _, lite := o.desc.Attribute("ice-lite"); lite {
		return nil, fmt.Errorf("%w: the offer is ICE-lite, and so is this server: neither would begin", ErrUnsupported)
	}
	for i, m := range o.desc.MediaDescriptions {
		sec, err := o.readSection(m)
		if err != nil {
			return nil, fmt.Errorf("%w (media section %d)", err, i+1)
		}
		o.sections = append(o.sections, sec)
	}
	return o, o.share()
}

// share gives all sections the transport of the first that is bundled. Until a
// bundle is agreed on, each may have its own (RFC 9143 section 7.2.1), as those
// of aiortc have; an answer that takes the bundle takes that first one's.
func (o *offer) share() error {
	group, _ := o.desc.Attribute("group")
	var first *section
	for _, mid := range strings.Fields(group) {
		i := slices.IndexFunc(o.sections, func(sec *section) bool {
			name, _ := sec.desc.Attribute("mid")
			return name == mid && sec.desc.MediaName.Port.Value != 0
		})
		if i >= 0 {
			first = o.sections[i]
			break
		}
	}
	if first == nil {
		first = o.sections[0]
	}
	own := slices.DeleteFunc(slices.Clone(first.desc.Attributes), func(a sdp.Attribute) bool { return !slices.Contains(transport, a.Key) })
	for _, sec := range o.sections {
		if sec != first {
			sec.desc.Attributes = append(without(sec.desc.Attributes, transport...), own...)
		}
	}
	for i, sec := range o.sections {
		if err := o.readTransport(sec.desc); err != nil {
			return fmt.Errorf("%w (media section %d)", err, i+1)
		}
	}
	o.ufrag, _ = o.attribute(first.desc, "ice-ufrag")
	return nil
}

// transport names what the sections of a bundle share.
var transport = []string{"ice-ufrag", "ice-pwd", "fingerprint"}

// check looks at the sections together.
func (o *offer) check() error {
	active := 0
	for i, sec := range o.sections {
		if !sec.active {
			continue
		}
		active++
		for _, other := range o.sections[:i] {
			if other.active && other.kind == sec.kind {
				return fmt.Errorf("%w: the offer has more than one %s section; one of each kind is taken", ErrUnsupported, sec.kind)
			}
		}
	}
	if active == 0 {
		return fmt.Errorf("%w: no media section of the offer is active", ErrUnsupported)
	}
	if len(o.sections) == 1 {
		return nil
	}
	return o.bundled(o.sections)
}

// bundled checks that sections share one connection.
func (o *offer) bundled(sections []*section) error {
	group, _ := o.desc.Attribute("group")
	bundled := strings.Fields(group)
	for _, sec := range sections {
		mid, _ := sec.desc.Attribute("mid")
		if len(bundled) == 0 || bundled[0] != "BUNDLE" || !slices.Contains(bundled[1:], mid) {
			return fmt.Errorf("%w: media section %q is not in the BUNDLE group; all media share one connection", ErrUnsupported, mid)
		}
	}
	return nil
}

// readSection checks one m-line.
func (o *offer) readSection(m *sdp.MediaDescription) (*section, error) {
	sec := &section{kind: m.MediaName.Media, desc: m}
	if sec.kind != "audio" && sec.kind != "video" {
		return nil, fmt.Errorf("%w: %q; only audio and video are taken", ErrUnsupported, sec.kind)
	}
	if mid, ok := m.Attribute("mid"); !ok || mid == "" {
		return nil, fmt.Errorf("%w: a=mid is missing", media.ErrInvalid)
	}
	live(m)
	var err error
	if sec.active, err = direction(o.desc, m, o.role); err != nil {
		return nil, err
	}
	sec.codecs, sec.names = readCodecs(m)
	return sec, nil
}

// live takes the zero from the port of a new section that can only be bundled:
// alone it would say that the section is refused (RFC 9143 section 6). Firefox
// writes it when a connection gets another section.
func live(m *sdp.MediaDescription) {
	if _, ok := m.Attribute("bundle-only"); !ok || m.MediaName.Port.Value != 0 {
		return
	}
	m.MediaName.Port.Value = 9
	m.Attributes = slices.DeleteFunc(m.Attributes, func(a sdp.Attribute) bool { return a.Key == "bundle-only" })
}

// readTransport checks ICE credentials, DTLS fingerprint and role, and rtcp-mux.
func (o *offer) readTransport(m *sdp.MediaDescription) error {
	for _, name := range transport {
		if _, ok := o.attribute(m, name); !ok {
			return fmt.Errorf("%w: a=%s is missing", media.ErrInvalid, name)
		}
	}
	if setup, ok := o.attribute(m, "setup"); ok && setup != "actpass" && setup != "active" && setup != "passive" {
		return fmt.Errorf("%w: a=setup:%s in an offer", media.ErrInvalid, setup)
	}
	if _, ok := m.Attribute("rtcp-mux"); !ok {
		return fmt.Errorf("%w: a=rtcp-mux is missing", ErrUnsupported)
	}
	return nil
}

// attribute is a section's attribute, or else the session's.
func (o *offer) attribute(m *sdp.MediaDescription, name string) (string, bool) {
	if v, ok := m.Attribute(name); ok {
		return v, true
	}
	return o.desc.Attribute(name)
}

var directions = []string{"sendrecv", "sendonly", "recvonly", "inactive"}

// direction tells whether a section is active, and that it points the right way.
func direction(desc *sdp.SessionDescription, m *sdp.MediaDescription, r role) (active bool, err error) {
	way := "sendrecv" // RFC 8866 section 6.7
	for _, d := range directions {
		if _, ok := desc.Attribute(d); ok {
			way = d
		}
	}
	for _, d := range directions {
		if _, ok := m.Attribute(d); ok {
			way = d
		}
	}
	switch {
	case way == "inactive" || m.MediaName.Port.Value == 0:
		return false, nil
	case r == participating && way == "recvonly":
		return false, nil
	case r == publishing && way == "recvonly":
		return false, fmt.Errorf("%w: a=recvonly; a publisher offers sendonly or sendrecv", ErrUnsupported)
	case r == watching && way == "sendonly":
		return false, fmt.Errorf("%w: a=sendonly; a viewer offers recvonly or sendrecv", ErrUnsupported)
	}
	return true, nil
}

// codec is one payload type of an offer.
type codec struct {
	name    media.Codec
	payload uint8
	rtx     uint8  // payload type of its retransmissions (RFC 4588); 0: none
	red     uint8  // payload type of packets that repeat earlier ones (RFC 2198); 0: none
	fmtp    string // as offered
	rtpmap  string // as offered, without the payload type
}

// mode1 tells whether H.264 may be sent in fragments (RFC 6184 section 6.3).
func (c codec) mode1() bool { return parameter(c.fmtp, "packetization-mode") == "1" }

// channels is as media.Track has it.
func (c codec) channels() int {
	switch {
	case c.name.Video():
		return 0
	case parameter(c.fmtp, "sprop-stereo") == "1":
		return 2
	}
	return 1
}

// profile is H.264's profile_idc and constraint flags in hex, "" when not given;
// of other codecs the number, with the default that its payload format has.
func (c codec) profile() string {
	switch c.name {
	case media.H264:
		if id := parameter(c.fmtp, "profile-level-id"); len(id) >= 4 {
			return strings.ToLower(id[:4])
		}
	case media.VP9: // RFC 9628 section 6.1
		return cmp.Or(parameter(c.fmtp, "profile-id"), "0")
	case media.AV1: // AOM's payload format section 7.2.1
		return cmp.Or(parameter(c.fmtp, "profile"), "0")
	case media.H265: // RFC 7798 section 7.1
		return cmp.Or(parameter(c.fmtp, "profile-id"), "1")
	}
	return ""
}

// carries tells whether a client that offers to receive c can be sent what is
// published as p. An H.264 profile need not be the same: browsers decode what they
// do not list (a High stream under 42e01f), but fragments need packetization-mode
// 1. Levels are not compared: an offer tells the highest a client knows, not what
// it sends.
func (c codec) carries(p codec) bool {
	switch {
	case c.name != p.name:
		return false
	case c.name == media.H264:
		return !p.mode1() || c.mode1()
	}
	return c.profile() == p.profile()
}

// String names a codec as error messages do.
func (c codec) String() string {
	switch c.name {
	case media.H264:
		return fmt.Sprintf("H264 (packetization-mode %d)", map[bool]int{false: 0, true: 1}[c.mode1()])
	case media.VP9, media.AV1, media.H265:
		return fmt.Sprintf("%s (profile %s)", c.name, c.profile())
	}
	return string(c.name)
}

func parameter(fmtp, name string) string {
	for p := range strings.SplitSeq(fmtp, ";") {
		if k, v, _ := strings.Cut(strings.TrimSpace(p), "="); strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func knownCodecs(kind string) string {
	if kind == "audio" {
		return "opus"
	}
	return "H264 with packetization-mode 0 or 1, VP8, VP9 with profile-id 0 or 2, AV1 with profile 0, H265 with profile-id 1 or 2"
}

// readCodecs lists the known codecs of a section in the client's order, and
// the names of all.
func readCodecs(m *sdp.MediaDescription) (known []codec, names string) {
	rtpmap, fmtp := values(m, "rtpmap"), values(m, "fmtp")
	var all []string
	for _, format := range m.MediaName.Formats {
		payload, err := strconv.ParseUint(format, 10, 7)
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(rtpmap[format], "/")
		if name != "" && !slices.Contains(all, name) && len(all) < 20 {
			all = append(all, name)
		}
		c := codec{payload: uint8(payload), fmtp: fmtp[format], rtpmap: rtpmap[format]}
		if c.name = knownName(m.MediaName.Media, c); c.name == "" {
			continue
		}
		known = append(known, c)
	}
	for _, format := range m.MediaName.Formats {
		payload, err := strconv.ParseUint(format, 10, 7)
		for i := range known {
			own := strconv.Itoa(int(known[i].payload))
			switch name := strings.ToLower(rtpmap[format]); {
			case err != nil:
			case strings.HasPrefix(name, "rtx/") && parameter(fmtp[format], "apt") == own:
				known[i].rtx = uint8(payload)
			case known[i].name == media.Opus && name == "red/48000/2" && repeats(fmtp[format], own):
				known[i].red = uint8(payload)
			}
		}
	}
	return known, strings.Join(all, ", ")
}

// repeats tells whether the parameters of redundant audio, "111/111" for one repeat
// (RFC 2198 section 5), name one payload type alone.
func repeats(fmtp, payload string) bool {
	types := strings.Split(fmtp, "/")
	return len(types) > 1 && !slices.ContainsFunc(types, func(t string) bool { return t != payload })
}

func knownName(kind string, c codec) media.Codec {
	switch m := strings.ToLower(c.rtpmap); {
	case kind == "audio" && m == "opus/48000/2": // RFC 7587 section 7
		return media.Opus
	case kind == "video" && m == "h264/90000":
		if mode := parameter(c.fmtp, "packetization-mode"); mode == "" || mode == "0" || mode == "1" {
			return media.H264
		}
	case kind == "video" && m == "vp8/90000":
		return media.VP8
	case kind == "video" && m == "vp9/90000":
		return c.as(media.VP9, "0", "2") // 8 and 10 bits, 4:2:0
	case kind == "video" && m == "av1/90000":
		return c.as(media.AV1, "0")
	case kind == "video" && m == "h265/90000" && c.plainH265():
		return c.as(media.H265, "1", "2") // Main, Main 10
	}
	return ""
}

// as is name if the profile is one of those given.
func (c codec) as(name media.Codec, profiles ...string) media.Codec {
	if c.name = name; !slices.Contains(profiles, c.profile()) {
		return ""
	}
	return name
}

// plainH265 leaves out what browsers do not know either: other profile spaces, the
// high tier, several streams, units out of order (RFC 7798 section 7.1).
func (c codec) plainH265() bool {
	for name, only := range map[string]string{"profile-space": "0", "tier-flag": "0", "tx-mode": "SRST", "sprop-max-don-diff": "0"} {
		if v := parameter(c.fmtp, name); v != "" && !strings.EqualFold(v, only) {
			return false
		}
	}
	return true
}

// values collects attributes of the form name:format value.
func values(m *sdp.MediaDescription, name string) map[string]string {
	found := map[string]string{}
	for _, a := range m.Attributes {
		if a.Key == name {
			format, value, _ := strings.Cut(a.Value, " ")
			found[format] = strings.TrimSpace(value)
		}
	}
	return found
}

// match finds the payload type under which a viewer can take a codec, if there is
// one with the same profile.
func (sec *section) match(c codec) (codec, bool) {
	var best codec
	found := false
	for _, o := range sec.codecs {
		if !o.carries(c) {
			continue
		}
		if o.profile() == c.profile() && o.mode1() == c.mode1() {
			return o, true
		}
		if !found {
			best, found = o, true
		}
	}
	return best, found
}
