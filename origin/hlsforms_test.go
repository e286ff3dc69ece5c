package origin

import (
	"bytes"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"braid/media/flv"
	"braid/media/h264"
)

// hlsForms are the playlists of a stream.
func hlsForms(name string) []string {
	return []string{name + ".m3u8", name + "/fmp4.m3u8", name + "/ll.m3u8"}
}

// TestHLSForms lets ffprobe decode each form of HLS: whole, and one kind of media
// alone. What the request said behind "?" must come with each of the addresses in
// the playlist: a segment without it would have both kinds.
func TestHLSForms(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.publishing(t, "cam")
	var all sync.WaitGroup // each takes the time of what it plays
	for query, want := range map[string]string{"": "h264 aac", "?onlyaudio=1&x=1": "aac", "?x=1&onlyvideo=1": "h264"} {
		for _, path := range hlsForms("cam") {
			all.Go(func() {
				var got []string
				for _, p := range probe(t, s.http+path+query) {
					if n, _ := strconv.Atoi(p.Frames); n < 75 {
						t.Errorf("%s: %s frames of 3 s of %s", path+query, p.Frames, p.Codec)
					}
					got = append(got, p.Codec)
				}
				if strings.Join(got, " ") != want {
					t.Errorf("%s: got %v, want %s", path+query, got, want)
				}
			})
		}
	}
	all.Wait()
}

var (
	uriLine = regexp.MustCompile(`(?m)^[^#\n].*$`)
	uriTag  = regexp.MustCompile(`URI="([^"]*)"`)
)

// addresses are all that a playlist names.
func addresses(list string) []string {
	all := uriLine.FindAllString(list, -1)
	for _, m := range uriTag.FindAllStringSubmatch(list, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestStreamThatGoes follows the forms of a stream through its life: the publisher
// goes and comes back in another size, then for good.
func TestStreamThatGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := New(Config{Log: quiet()})
		defer o.Close()
		get := func(path string) (int, string) {
			t.Helper()
			w := httptest.NewRecorder()
			o.ServeHTTP(w, httptest.NewRequest("GET", "/live/"+path, nil))
			if got := w.Header().Get("Access-Control-Allow-Origin"); got != "*" {
				t.Errorf("%s: Access-Control-Allow-Origin is %q", path, got)
			}
			return w.Code, w.Body.String()
		}
		in := publish(t, o.Hub, "cam")
		open(in)
		played := make(chan struct{})
		go func() { defer close(played); play(in, 0, 5000, 1000) }()
		for _, path := range hlsForms("cam") {
			if code, body := get(path); code != 200 || !strings.Contains(body, "#EXTINF:1.000,") {
				t.Fatalf("%s: %d %s", path, code, body)
			}
		}
		_, list := get("cam/ll.m3u8?auth_key=1-2-3-4")
		for _, a := range addresses(list) {
			if !strings.HasSuffix(a, "?auth_key=1-2-3-4") {
				t.Errorf("%s is named without the key", a)
			}
			if code, body := get("cam/" + a); code != 200 || len(body) < 100 {
				t.Errorf("%s: %d, %d bytes", a, code, len(body))
			}
		}
		<-played
		in.Close()

		back := publish(t, o.Hub, "cam")
		back.WriteTag(avcHeader(31))
		back.WriteTag(aacHeader())
		play(back, 0, 2500, 1000)
		synctest.Wait()
		for _, path := range hlsForms("cam") {
			_, list := get(path)
			before, after, ok := strings.Cut(list, "#EXT-X-DISCONTINUITY\n")
			mapped := !strings.HasPrefix(path, "cam/") || strings.HasPrefix(after, "#EXT-X-MAP:") && strings.Contains(before, "#EXT-X-MAP:")
			if !ok || !mapped || !strings.Contains(after, "#EXTINF:1.000,") {
				t.Errorf("%s after the break:\n%s", path, list)
			}
		}
		back.Close()
		time.Sleep(graceTime + time.Second)
		synctest.Wait()
		for _, path := range hlsForms("cam") {
			_, list := get(path)
			if !strings.HasSuffix(list, "#EXT-X-ENDLIST\n") || strings.Contains(list, "HINT") {
				t.Errorf("%s of a stream that has ended:\n%s", path, list)
			}
			dir := path[:strings.LastIndex(path, "/")+1]
			for _, a := range addresses(list) {
				if code, _ := get(dir + a); code != 200 {
					t.Errorf("%s: %d at the end", a, code)
				}
			}
		}
		time.Sleep(endedTime)
		synctest.Wait()
		for _, path := range append(hlsForms("cam"), "cam/part1.m4s", "cam/init1.mp4", "cam/1.m4s") {
			if code, _ := get(path); code != 404 {
				t.Errorf("%s of a stream that is gone: %d", path, code)
			}
		}
	})
}

// TestNobodyAsks: a form is made while somebody asks for it, and no longer.
func TestNobodyAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := New(Config{Log: quiet()})
		defer o.Close()
		in := publish(t, o.Hub, "cam")
		open(in)
		play(in, 0, 1200, 1000)
		forms := func() int { o.mu.Lock(); defer o.mu.Unlock(); return len(o.hls) }
		if n := forms(); n != 0 {
			t.Fatalf("%d forms are made before anybody asks", n)
		}
		for _, only := range []byte{0, flv.Audio} {
			if _, err := o.openHLS(hlsKey{key{"live", "cam"}, true, only}); err != nil {
				t.Fatal(err)
			}
		}
		for range 2 {
			time.Sleep(idleTime - 1)
			o.findHLS(hlsKey{key{"live", "cam"}, true, 0})
		}
		synctest.Wait()
		if n := forms(); n != 1 {
			t.Errorf("%d forms are made, one is asked for", n)
		}
		time.Sleep(idleTime)
		synctest.Wait()
		if n := forms(); n != 0 {
			t.Errorf("%d forms are made, none is asked for", n)
		}
	})
}

// TestSetsInBand: another SPS in the pictures themselves, without a sequence header,
// begins a segment with another initialization section.
func TestSetsInBand(t *testing.T) {
	forms(t, func(t *testing.T, mp4 bool) {
		s := newScript(mp4)
		s.header(avcHeader(30), 0)
		for ms := 0; ms < 4000; ms += 40 {
			p := picture(ms, ms%1000 == 0)
			if p.Payload[0] == 0x17 && ms >= 2000 {
				p.Payload = h264.AppendAVCC(bytes.Clone(p.Payload[:5]), [][]byte{avcHeader(31).Payload[13:23], {0x68, 0xce, 0x3c, 0x80}, {0x65, 1, 2}})
			}
			s.tag(p)
		}
		s.flush()
		s.check(t, partTarget)
		if got := s.lengths(); got != "1000 1000 D1000 1000" {
			t.Errorf("got %s, problem %v", got, s.problem)
		}
		if mp4 && (bytes.Equal(s.got[1].init.data, s.got[2].init.data) || !bytes.Equal(s.got[2].init.data, s.got[3].init.data)) {
			t.Error("the initialization section is not the pictures'")
		}
	})
}
