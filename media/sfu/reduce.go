package sfu

import (
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// take chooses one codec of a section; all other formats leave the offer, and
// of several simulcast layers all but the best. An answer may take a subset
// (RFC 3264 section 6.1, RFC 8853 section 5.3), and the client stops sending
// what was not taken.
func (sec *section) take(c codec) {
	sec.taken = []codec{c}
	formats := []string{strconv.Itoa(int(c.payload))}
	if c.rtx != 0 {
		formats = append(formats, strconv.Itoa(int(c.rtx)))
	}
	sec.desc.MediaName.Formats = formats
	rid := bestLayer(layers(sec.desc))
	sec.desc.Attributes = slices.DeleteFunc(sec.desc.Attributes, func(a sdp.Attribute) bool {
		first, _, _ := strings.Cut(a.Value, " ")
		switch a.Key {
		case "rtpmap", "fmtp":
			return !slices.Contains(formats, first)
		case "rtcp-fb":
			return first != "*" && !slices.Contains(formats, first)
		case "rid":
			return first != rid
		case "simulcast":
			return rid == ""
		}
		return false
	})
	for i, a := range sec.desc.Attributes {
		if a.Key == "simulcast" {
			sec.desc.Attributes[i].Value = "send " + rid
		}
	}
}

// refuse leaves a section in the offer (m-lines are counted) without media.
func (sec *section) refuse() {
	sec.active = false
	sec.desc.Attributes = slices.DeleteFunc(sec.desc.Attributes, func(a sdp.Attribute) bool {
		return slices.Contains(directions, a.Key)
	})
	sec.desc.Attributes = append(sec.desc.Attributes, sdp.Attribute{Key: "inactive"})
}

// reduced writes the offer for Pion. What the client leaves open is settled
// here: the DTLS role (we answer passive, for then our order of SRTP profiles
// counts) and the direction. Candidates are left out: this server is ICE-lite
// and never sends a check, so a candidate cannot make it send anything.
func (o *offer) reduced() (string, error) {
	o.desc.Attributes = settle(o.desc.Attributes)
	for _, sec := range o.sections {
		if !sec.active && len(sec.taken) == 0 {
			sec.refuse()
		}
		sec.desc.Attributes = settle(sec.desc.Attributes)
	}
	text, err := o.desc.Marshal()
	return string(text), err
}

func settle(attrs []sdp.Attribute) []sdp.Attribute {
	attrs = slices.DeleteFunc(attrs, func(a sdp.Attribute) bool {
		return a.Key == "candidate" || a.Key == "end-of-candidates" || a.Key == "remote-candidates"
	})
	for i, a := range attrs {
		if a.Key == "setup" && a.Value == "actpass" {
			attrs[i].Value = "active"
		}
	}
	return attrs
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
