package sfu

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/pion/sdp/v3"

	"braid/media"
)

// ErrRestart says that a fragment has other ICE credentials than the session, and
// that no restart was asked for.
var ErrRestart = errors.New("the ICE credentials are not the session's current ones")

// maxFragment bounds a trickle ICE fragment in bytes.
const maxFragment = 16 << 10

// fragment is what matters of an SDP fragment (RFC 8840 section 9).
type fragment struct{ ufrag, pwd string }

func parseFragment(text string) (fragment, error) {
	if len(text) > maxFragment {
		return fragment{}, fmt.Errorf("%w: the fragment has %d bytes, at most %d are read", media.ErrInvalid, len(text), maxFragment)
	}
	var f fragment
	useful := false
	for line := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '\r' || r == '\n' }) {
		name, value, _ := strings.Cut(line, ":")
		switch name {
		case "a=ice-ufrag":
			f.ufrag, useful = value, true
		case "a=ice-pwd":
			f.pwd = value
		case "a=candidate", "a=end-of-candidates":
			useful = true
		default:
			if len(line) < 2 || line[1] != '=' {
				return fragment{}, fmt.Errorf("%w: %.40q is not a line of SDP", media.ErrInvalid, line)
			}
		}
	}
	if !useful {
		return fragment{}, fmt.Errorf("%w: the fragment has neither candidates nor ICE credentials", media.ErrInvalid)
	}
	return f, nil
}

// Patch takes an SDP fragment of the client (application/trickle-ice-sdpfrag).
// Candidates are accepted and not needed: this server is ICE-lite and answers
// wherever the client speaks from. New credentials restart ICE; then answer is
// the fragment to return and ETag has changed. The session goes on in any
// case. Without restart only candidates of the current credentials are taken:
// a fragment that comes late would otherwise lead back to an older ICE session.
//
// Errors: media.ErrInvalid for what is no fragment, media.ErrClosed, ErrRestart.
func (s *Session) Patch(ctx context.Context, text string, restart bool) (answer string, err error) {
	f, err := parseFragment(text)
	if err != nil {
		return "", fmt.Errorf("sfu: %w", err)
	}
	s.patching.Lock()
	defer s.patching.Unlock()
	select {
	case <-s.stopping:
		return "", fmt.Errorf("sfu: %w: %s", media.ErrClosed, s.reason)
	default:
	}
	restarted, err := withCredentials(s.offer, f)
	if err != nil || restarted == "" {
		return "", err
	}
	if !restart {
		return "", fmt.Errorf("sfu: %w", ErrRestart)
	}
	full, err := s.negotiate(ctx, restarted)
	if err != nil {
		return "", err
	}
	s.etag = random128()
	return answerFragment(full)
}

// withCredentials is the offer once more with other ICE credentials; empty
// when they are the same.
func withCredentials(text string, f fragment) (string, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(text); err != nil {
		return "", fmt.Errorf("sfu: read the offer again: %w", err)
	}
	known := set(desc.Attributes, f)
	for _, m := range desc.MediaDescriptions {
		known = set(m.Attributes, f) || known
	}
	if f.ufrag == "" || known {
		return "", nil
	}
	if len(f.ufrag) < 4 || len(f.pwd) < 22 { // RFC 8839 section 5.4
		return "", fmt.Errorf("sfu: %w: new ICE credentials need a=ice-ufrag of 4 and a=ice-pwd of 22 characters or more", media.ErrInvalid)
	}
	desc.Origin.SessionVersion++
	b, err := desc.Marshal()
	return string(b), err
}

// set writes a fragment's credentials and tells whether they stood there.
func set(attrs []sdp.Attribute, f fragment) (known bool) {
	for i := range attrs {
		switch attrs[i].Key {
		case "ice-ufrag":
			known = known || attrs[i].Value == f.ufrag
			attrs[i].Value = f.ufrag
		case "ice-pwd":
			attrs[i].Value = f.pwd
		}
	}
	return known
}

// answerFragment cuts an answer down to credentials and one candidate; some
// clients break at more.
func answerFragment(answer string) (string, error) {
	var desc sdp.SessionDescription
	if err := desc.UnmarshalString(answer); err != nil {
		return "", fmt.Errorf("sfu: read the answer again: %w", err)
	}
	var b strings.Builder
	for _, m := range desc.MediaDescriptions {
		candidate, ok := m.Attribute("candidate")
		if !ok {
			continue
		}
		ufrag, _ := m.Attribute("ice-ufrag")
		pwd, _ := m.Attribute("ice-pwd")
		mid, _ := m.Attribute("mid")
		fmt.Fprintf(&b, "a=ice-lite\r\na=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", ufrag, pwd)
		fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:%s\r\n", m.MediaName.Media, mid)
		fmt.Fprintf(&b, "a=candidate:%s\r\na=end-of-candidates\r\n", candidate)
		break
	}
	return b.String(), nil
}
