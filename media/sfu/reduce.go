package sfu

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"

	"braid/media"
)

// take chooses one codec of a section; all other formats leave the offer, and
// the simulcast layers that are not taken. An answer may take a subset (RFC 3264
// section 6.1, RFC 8853 section 5.3), and the client stops sending what was not
// taken.
func (sec *section) take(c codec) {
	sec.taken = []codec{c}
	var formats []string
	if c.red != 0 { // in front: browsers repeat what they send when the answer prefers it
		formats = append(formats, strconv.Itoa(int(c.red)))
	}
	formats = append(formats, strconv.Itoa(int(c.payload)))
	if c.rtx != 0 {
		formats = append(formats, strconv.Itoa(int(c.rtx)))
	}
	sec.desc.MediaName.Formats = formats
	sec.rids = takenLayers(c, layers(sec.desc))
	sec.desc.Attributes = slices.DeleteFunc(sec.desc.Attributes, func(a sdp.Attribute) bool {
		first, _, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap", "fmtp":
			return !slices.Contains(formats, first)
		case "rtcp-fb":
			return first != "*" && !slices.Contains(formats, first)
		case "rid":
			return !slices.Contains(sec.rids, first)
		case "simulcast":
			return len(sec.rids) == 0
		case "extmap":
			return c.name != media.AV1 && strings.HasSuffix(a.Value, dependencyURI)
		}
		return false
	})
	for i, a := range sec.desc.Attributes {
		if a.Key == "simulcast" {
			sec.desc.Attributes[i].Value = "send " + strings.Join(sec.rids, ";")
		}
	}
}

// maxLayers is how many sizes of a picture are taken; browsers send no more.
const maxLayers = 3

// takenLayers are those of a simulcast that are taken, the smallest first: all
// where a viewer can be moved from one to the other, else the best.
func takenLayers(c codec, rids []string) []string {
	if len(rids) == 0 {
		return nil
	}
	best := bestLayer(rids)
	if c.name != media.H264 && c.name != media.VP8 {
		return []string{best}
	}
	if rids[0] == best {
		slices.Reverse(rids)
	}
	return rids[max(0, len(rids)-maxLayers):]
}

// reduced writes the offer for Pion. What the client leaves open is settled
// here: the direction, and the DTLS role. We answer passive when we may, for
// then our order of SRTP profiles counts; Pion looks for the role in each
// section only. Candidates are left out: this server is ICE-lite and never
// sends a check, so a candidate cannot make it send anything.
func (o *offer) reduced() (string, error) {
	for _, sec := range o.sections {
		way := map[role]string{publishing: "sendonly", participating: "sendonly", watching: "recvonly"}[o.role]
		if !sec.active {
			way = "inactive"
			if sec.known { // Pion takes inactive for the end, and a second time it never begins again
				way = "recvonly"
			}
		}
		sec.desc.Attributes = append(without(sec.desc.Attributes, directions...), sdp.Attribute{Key: way})
		setup, ok := o.attribute(sec.desc, "setup")
		if !ok || setup == "actpass" {
			setup = "active"
		}
		sec.desc.Attributes = append(without(sec.desc.Attributes, "setup"), sdp.Attribute{Key: "setup", Value: setup})
		sec.desc.Attributes = without(sec.desc.Attributes, "candidate", "end-of-candidates", "remote-candidates")
	}
	o.desc.Attributes = without(o.desc.Attributes, "setup", "candidate", "end-of-candidates")
	text, err := o.desc.Marshal()
	return string(text), err
}

func without(attrs []sdp.Attribute, names ...string) []sdp.Attribute {
	return slices.DeleteFunc(attrs, func(a sdp.Attribute) bool { return slices.Contains(names, a.Key) })
}

// layers lists the rids that a section sends by simulcast, in its order;
// alternatives of one layer (RFC 8853 section 5.1) count by their first.
func layers(m *sdp.MediaDescription) []string {
	line, ok := m.Attribute("simulcast")
	if !ok {
		return nil
	}
	fields := strings.Fields(line)
	var rids []string
	for i := 0; i+1 < len(fields); i += 2 {
		if fields[i] != "send" {
			continue
		}
		for layer := range strings.SplitSeq(fields[i+1], ";") {
			first, _, _ := strings.Cut(layer, ",")
			if rid := strings.TrimPrefix(first, "~"); rid != "" {
				rids = append(rids, rid)
			}
		}
	}
	return rids
}

// bestLayer guesses which rid is the largest picture. SDP does not say; the
// names in use do: f (full) of q, h, f; 0 of OBS's numbers; else the last, as
// browsers' examples list small to large.
func bestLayer(rids []string) string {
	if len(rids) == 0 {
		return ""
	}
	for _, name := range []string{"f", "full", "high", "hi"} {
		if slices.Contains(rids, name) {
			return name
		}
	}
	if _, err := strconv.Atoi(rids[0]); err == nil {
		return slices.Min(rids)
	}
	return rids[len(rids)-1]
}
