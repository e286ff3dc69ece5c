package sfu

import (
	"bytes"
	"testing"

	"github.com/pion/rtp/codecs"

	"braid/media"
)

func TestForwardH264AndOpus(t *testing.T) {
	s := testServer(t)
	video, units := h264Feed(t)
	audio, packets := opusFeed(t)
	publish(t, s, "ann", video, audio)
	u := user(t, s, "ann", func(u *media.User) bool { return u.Video != nil && u.Audio != nil })
	if u.Video.Codec() != media.H264 || u.Audio.Codec() != media.Opus {
		t.Fatalf("got codecs %s and %s", u.Video.Codec(), u.Audio.Codec())
	}

	v := watch(t, s, "bob", "ann")
	got := v.units(t, &codecs.H264Packet{}, 2*len(units))
	if kind := got[0][0] & 0x1f; kind != nalSPS {
		t.Fatalf("the first NAL unit has type %d; a viewer starts at a key frame's SPS", kind)
	}
	mustFollow(t, got, units)

	for i := range 2 * len(packets) {
		p := receive(t, "sound arrives", v.audio)
		if !contains(packets, p.Payload) {
			t.Fatalf("audio packet %d was never sent", i)
		}
	}
}

func TestForwardVP8(t *testing.T) {
	s := testServer(t)
	feed, frames := vp8Feed(t)
	publish(t, s, "ann", feed)
	user(t, s, "ann", func(u *media.User) bool { return u.Video != nil && u.Video.Codec() == media.VP8 })
	v := watch(t, s, "bob", "ann")
	got := v.units(t, &codecs.VP8Packet{}, 2*len(frames))
	if got[0][0]&1 != 0 {
		t.Fatal("the first frame is no key frame")
	}
	mustFollow(t, got, frames)
}

func contains(list [][]byte, b []byte) bool {
	for _, l := range list {
		if bytes.Equal(l, b) {
			return true
		}
	}
	return false
}
