package ingest

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"braid/event"
	"braid/internal/testkit"
	"braid/media"
	"braid/media/flv"
	"braid/media/h264"
	"braid/media/rtmp"
)

const (
	audioKind = webrtc.RTPCodecTypeAudio
	videoKind = webrtc.RTPCodecTypeVideo
)

// flashes is a black picture that is white for two frames each second, with a beep of
// 1 kHz at the same moment.
var flashes = []string{"-re", "-f", "lavfi", "-i", "color=black:size=320x180:rate=30,drawbox=c=white:t=fill:enable='lt(mod(t,1),0.06)'",
	"-re", "-f", "lavfi", "-i", "aevalsrc='if(lt(mod(t,1),0.06),0.5*sin(2*PI*1000*t),0)':s=44100", "-c:v", "libx264", "-c:a", "aac"}

// TestLipsAndWords publishes with ffmpeg, as it is by default (x264 with B-frames)
// and without B-frames: a WHEP viewer gets every picture and all sound, and what
// belongs together is together.
func TestLipsAndWords(t *testing.T) {
	for _, c := range []struct {
		name    string
		args    []string
		profile byte // of what the viewer gets
	}{
		{"B-frames", []string{"-bf", "3", "-g", "30"}, 66},
		{"no B-frames", []string{"-bf", "0", "-g", "30", "-profile:v", "main"}, 77},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			ffmpegPublishes(t, s.url, append(slices.Clone(flashes), c.args...)...)
			testkit.Eventually(t, "obs publishes both", func() bool { u := s.user(); return u != nil && u.Audio != nil && u.Video != nil })
			v := s.watch(t, "eve")
			testkit.Eventually(t, "5 s of both", func() bool { return v.count(videoKind) > 150 && v.count(audioKind) > 250 })

			pictures, sounds := v.frames(t, videoKind, media.H264), v.frames(t, audioKind, media.Opus)
			sps, err := h264.ParseSPS(pictures[0].Units[0])
			if err != nil || sps.Profile != c.profile || sps.Reorder != 0 {
				t.Errorf("SPS %+v, %v; want profile %d and nothing out of order", sps, err, c.profile)
			}
			for i := 1; i < len(pictures); i++ {
				if d := pictures[i].Timestamp - pictures[i-1].Timestamp; d < 2700 || d > 3300 {
					t.Fatalf("picture %d comes %d ticks after the one before, want 3000", i, d)
				}
			}
			seen := whites(decodeH264(t, pictures, 16, 9))
			pcm := decodeOpus(t, sounds)
			heard := onsets(pcm)
			at, sound := v.clock(t, videoKind, 90000), v.clock(t, audioKind, 48000)
			var offsets []time.Duration
			for _, i := range seen {
				flash := at(pictures[i].Timestamp)
				for _, n := range heard {
					beep := sound(sounds[0].Timestamp + uint32(n) + oggPreSkip)
					if d := beep - flash; d.Abs() < 400*time.Millisecond {
						offsets = append(offsets, d)
					}
				}
			}
			if len(offsets) < 4 {
				t.Logf("loudness of each 100 ms: %.2f", loudness(pcm))
				t.Fatalf("%d flashes, %d beeps, %d pairs; want 4 pairs", len(seen), len(heard), len(offsets))
			}
			t.Logf("sound after picture: %v", offsets)
			for _, d := range offsets {
				if d.Abs() > 40*time.Millisecond {
					t.Errorf("sound comes %v after its picture, want within 40 ms", d)
				}
			}
		})
	}
}

// whites are the pictures that turn white.
func whites(pictures [][]byte) (at []int) {
	white := true // what begins inside a flash is not one
	for i, p := range pictures {
		sum := 0
		for _, v := range p {
			sum += int(v)
		}
		now := sum/len(p) > 128
		if now && !white {
			at = append(at, i)
		}
		white = now
	}
	return at
}

// loudness is the largest sample of each 100 ms.
func loudness(pcm []float32) (all []float64) {
	for part := range slices.Chunk(pcm, 4800) {
		top := 0.0
		for _, v := range part {
			top = max(top, math.Abs(float64(v)))
		}
		all = append(all, top)
	}
	return all
}

// onsets are the samples at which sound begins after 100 ms of silence.
func onsets(pcm []float32) (at []int) {
	quiet := 0
	for i, v := range pcm {
		if math.Abs(float64(v)) < 0.1 {
			quiet++
			continue
		}
		if quiet > 4800 {
			at = append(at, i)
		}
		quiet = 0
	}
	return at
}

// TestStory: what callbacks hear of an RTMP publisher, from the first packet to the
// end of the connection.
func TestStory(t *testing.T) {
	s := newStage(t)
	_, stop := ffmpegPublishes(t, s.url, append(slices.Clone(flashes), "-bf", "0")...)
	testkit.Eventually(t, "obs publishes both", func() bool { u := s.user(); return u != nil && u.Audio != nil && u.Video != nil })
	stop()
	testkit.Eventually(t, "obs has left", func() bool { return slices.Contains(s.story(), "UserLeave obs") })
	story := s.story()
	for _, want := range []string{"ChannelOpen", "UserJoin obs", "PublishAudio obs", "PublishVideo obs", "UnpublishAudio obs", "UnpublishVideo obs", "UserLeave obs"} {
		if !slices.Contains(story, want) {
			t.Errorf("no %s in %v", want, story)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if e.User != nil && (e.User.Client != event.RTMP || e.User.Role != event.Streamer) {
			t.Errorf("%s: client %s, role %d", e.Type, e.User.Client, e.User.Role)
		}
	}
}

// TestOneKind: a camera without microphone, and a microphone without camera.
func TestOneKind(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		kind webrtc.RTPCodecType
	}{
		{"video", []string{"-an", "-bf", "2", "-g", "30"}, videoKind},
		{"audio", []string{"-vn"}, audioKind},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			ffmpegPublishes(t, s.url, append(slices.Clone(flashes), c.args...)...)
			testkit.Eventually(t, "obs publishes", func() bool { u := s.user(); return u != nil && u.Publishing() })
			v := s.watch(t, "eve")
			testkit.Eventually(t, "media", func() bool { return v.count(c.kind) > 30 })
			if u := s.user(); (u.Audio != nil) == (u.Video != nil) {
				t.Errorf("obs publishes audio %t, video %t; want one", u.Audio != nil, u.Video != nil)
			}
		})
	}
}

// TestRareKeyFrames: a viewer that joins a stream without B-frames whose key frames
// are far apart, or that has none after the first, sees pictures soon.
func TestRareKeyFrames(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"long groups", []string{"-g", "200", "-keyint_min", "200", "-sc_threshold", "0"}},
		{"intra refresh", []string{"-g", "30", "-x264-params", "intra-refresh=1:scenecut=0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStage(t)
			args := append(slices.Clone(flashes), "-bf", "0", "-profile:v", "main")
			ffmpegPublishes(t, s.url, append(args, c.args...)...)
			testkit.Eventually(t, "obs publishes pictures", func() bool { u := s.user(); return u != nil && u.Video != nil })
			first := s.watch(t, "first")
			testkit.Eventually(t, "the worker's pictures", func() bool { return first.profile() == 66 })
			began := time.Now()
			v := s.watch(t, "late")
			testkit.Eventually(t, "pictures", func() bool { return v.count(videoKind) > 5 })
			if took := time.Since(began); took > 3*time.Second {
				t.Errorf("a viewer waits %v for pictures", took)
			}
		})
	}
}

// TestKeyFrameOnDemand: a stream with a key frame each ten seconds that is coded anew
// shows a viewer its first picture at once.
func TestKeyFrameOnDemand(t *testing.T) {
	s := newStage(t)
	ffmpegPublishes(t, s.url, append(slices.Clone(flashes), "-bf", "2", "-g", "300")...)
	testkit.Eventually(t, "obs publishes pictures", func() bool { u := s.user(); return u != nil && u.Video != nil })
	for _, name := range []string{"eve", "bob"} {
		began := time.Now()
		v := s.watch(t, name)
		testkit.Eventually(t, "pictures", func() bool { return v.count(videoKind) > 5 })
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%s waits %v for pictures", name, took)
		}
	}
}

// TestKickEndsConnection: who is kicked loses the RTMP connection, and may come back.
func TestKickEndsConnection(t *testing.T) {
	s := newStage(t)
	exited, _ := ffmpegPublishes(t, s.url, append(slices.Clone(flashes), "-bf", "0")...)
	testkit.Eventually(t, "obs publishes", func() bool { u := s.user(); return u != nil && u.Publishing() })
	if err := s.sfu.Kick("app", "room", "obs"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-exited:
	case <-time.After(20 * time.Second):
		t.Fatal("ffmpeg still publishes 20 s after the kick")
	}
	if s.user() != nil {
		t.Error("obs is in the channel after the kick")
	}
	ffmpegPublishes(t, s.url, append(slices.Clone(flashes), "-bf", "0")...)
	testkit.Eventually(t, "obs publishes again", func() bool { u := s.user(); return u != nil && u.Publishing() })
}

// TestRefusals: who may not publish, or sends what is not taken, is told why.
func TestRefusals(t *testing.T) {
	rejected := func(t *testing.T, err error, code, words string) {
		t.Helper()
		var r *rtmp.RejectedError
		if !errors.As(err, &r) || r.Code != code || !strings.Contains(r.Description, words) {
			t.Errorf("got %v, want %s and %q", err, code, words)
		}
	}
	s := newStage(t)
	for _, path := range []string{"/rtc/" + strings.Repeat("0", 32), "/rtc/short", "/rtc/" + strings.ToUpper(addressID), "/rtc/" + strings.Repeat("z", 32)} {
		_, err := dial(t, s.host+path)
		rejected(t, err, "NetStream.Publish.Denied", "no such address")
	}
	if _, err := rtmp.Play(t.Context(), s.url, rtmp.Options{}); err == nil {
		t.Error("an address can be played")
	} else {
		rejected(t, err, "NetStream.Play.StreamNotFound", "")
	}

	first, err := dial(t, s.url)
	if err != nil {
		t.Fatal(err)
	}
	_, err = dial(t, s.url)
	rejected(t, err, "NetStream.Publish.BadName", "already")
	first.Close()
	testkit.Eventually(t, "obs has left", func() bool { return s.user() == nil })

	for _, c := range []struct {
		name  string
		tag   *flv.Tag
		words string
	}{
		{"HEVC", &flv.Tag{Type: flv.Video, Payload: []byte("\x90hvc1\x01\x02")}, "HEVC"},
		{"AV1", &flv.Tag{Type: flv.Video, Payload: []byte("\x90av01\x01\x02")}, "AV1"},
		{"Sorenson", &flv.Tag{Type: flv.Video, Payload: []byte{0x12, 0, 0}}, "video codec 2"},
		{"MP3", &flv.Tag{Type: flv.Audio, Payload: []byte{0x2f, 0xff, 0xfb}}, "MP3"},
		{"Opus in enhanced RTMP", &flv.Tag{Type: flv.Audio, Payload: []byte("\x90Opus")}, "Opus"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, err := dial(t, s.url)
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Write(c.tag); err != nil {
				t.Fatal(err)
			}
			<-p.Done()
			rejected(t, p.Err(), "NetStream.Publish.Denied", c.words)
			testkit.Eventually(t, "obs has left", func() bool { return s.user() == nil })
		})
	}

	t.Run("too large to be coded anew", func(t *testing.T) {
		p, err := dial(t, s.url)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags(t, "-f", "lavfi", "-i", "testsrc2=size=1920x1080:rate=30", "-frames:v", "4", "-c:v", "libx264", "-preset", "veryfast") {
			if p.Write(tag) != nil {
				break
			}
		}
		<-p.Done()
		rejected(t, p.Err(), "NetStream.Publish.Denied", "1920x1080")
	})
}

// TestSilentPublisherIsReplaced: an encoder that lost its connection comes back while
// TCP still holds the old one.
func TestSilentPublisherIsReplaced(t *testing.T) {
	s := newStage(t)
	old, err := dial(t, s.url)
	if err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "a newer one is let in", func() bool {
		p, err := dial(t, s.url)
		if err == nil {
			p.Write(&flv.Tag{Type: flv.Video, Payload: []byte{0x17, 2, 0, 0, 0}})
		}
		return err == nil
	})
	if old.Err() != nil {
		t.Errorf("the silent one has ended by itself: %v", old.Err())
	}
	if s.user() == nil {
		t.Error("obs is not in the channel")
	}
	old.Write(&flv.Tag{Type: flv.Video, Payload: []byte{0x17, 2, 0, 0, 0}}) // it wakes up
	<-old.Done()
	if s.user() == nil {
		t.Error("obs is not in the channel after the old connection's end")
	}
}

// TestUserInChannel: an address of somebody who is in the channel is refused.
func TestUserInChannel(t *testing.T) {
	s := newStage(t)
	p, err := dial(t, s.url)
	if err != nil {
		t.Fatal(err)
	}
	p.Write(&flv.Tag{Type: flv.Video, Payload: []byte{0x17, 2, 0, 0, 0}})
	// Another address of the same user.
	s.ingest.mu.Lock()
	clear(s.ingest.busy)
	s.ingest.mu.Unlock()
	_, err = dial(t, s.url)
	var r *rtmp.RejectedError
	if !errors.As(err, &r) || r.Code != "NetStream.Publish.BadName" || !strings.Contains(r.Description, "in the channel") {
		t.Errorf("got %v, want BadName with words", err)
	}
}
