package ingest

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net"
	"testing"

	"braid/media/flv"
	"braid/media/rtmp"
	"braid/media/sfu"
	"braid/mixer"
	"braid/store"
)

// FuzzPublisher publishes tags of any content: each is a type, a timestamp and a
// length in two bytes, then its payload.
func FuzzPublisher(f *testing.F) {
	tag := func(typ byte, ts uint32, payload string) []byte {
		b := binary.BigEndian.AppendUint32([]byte{typ}, ts)
		return append(binary.BigEndian.AppendUint16(b, uint16(len(payload))), payload...)
	}
	seq := func(all ...[]byte) (b []byte) {
		for _, t := range all {
			b = append(b, t...)
		}
		return b
	}
	const (
		sps  = "\x67\x42\x00\x1f\xda\x79"
		pps  = "\x68\xce\x3c\x80"
		avcc = "\x17\x00\x00\x00\x00\x01\x42\x00\x1f\xff\xe1\x00\x06" + sps + "\x01\x00\x04" + pps
		idr  = "\x17\x01\x00\x00\x00\x00\x00\x00\x04\x65\x88\xaa\xbb"
		next = "\x27\x01\x00\x00\x42\x00\x00\x00\x03\x41\x9a\x11"
		asc  = "\xaf\x00\x11\x90"
		aac  = "\xaf\x01\x21\x00"
	)
	f.Add(seq(tag(flv.Video, 0, avcc), tag(flv.Audio, 0, asc), tag(flv.Video, 0, idr), tag(flv.Audio, 0, aac), tag(flv.Video, 33, next), tag(flv.Video, 1<<31, idr)))
	f.Add(seq(tag(flv.Script, 0, "\x02\x00\x0aonMetaData\x08\x00\x00\x00\x01\x00\x09framerate\x00\x40\x3e\x00\x00\x00\x00\x00\x00"), tag(flv.Video, 5, "\x90hvc1\x00")))
	f.Add(tag(flv.Audio, 0, "\x90Opus"))
	server, err := sfu.New(sfu.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { server.Close() })
	log := slog.New(slog.DiscardHandler)
	pool := mixer.NewPool(mixer.Config{MaxWidth: 1280, MaxHeight: 720, Log: log})
	pool.Close() // takes work and does none
	s := New(Config{SFU: server, Mixer: pool, Log: log, Addresses: func(_ context.Context, id string) (store.Address, error) {
		return store.Address{ID: id, Kind: store.RTMPAddress, App: "a", Channel: "c", User: "u"}, nil
	}})
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := s.Publish(rtmp.Request{App: "rtc", Stream: addressID, Remote: &net.TCPAddr{}})
		if err != nil {
			t.Fatal(err)
		}
		defer in.Close()
		for len(b) >= 7 {
			n := min(int(binary.BigEndian.Uint16(b[5:])), len(b)-7)
			if n > 0 {
				in.WriteTag(&flv.Tag{Type: b[0], Timestamp: binary.BigEndian.Uint32(b[1:]), Payload: b[7 : 7+n]})
			}
			b = b[7+n:]
		}
	})
}
