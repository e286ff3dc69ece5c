package origin

import (
	"fmt"
	"io"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A master playlist names the stream and what is made of it, each with what a player
// must know to choose.
func TestMaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := New(Config{Log: quiet()})
		defer o.Close()
		get := func(path string) (int, string) {
			w := httptest.NewRecorder()
			o.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			body, _ := io.ReadAll(w.Result().Body)
			return w.Code, string(body)
		}
		if code, body := get("/live/cam/master.m3u8"); code != 404 || !strings.Contains(body, "live/cam") {
			t.Errorf("not on air: got %d %s", code, body)
		}
		cam := publish(t, o.Hub, "cam")
		small, err := o.PublishAs(Publisher{App: "live", Name: "cam_240p", Source: "cam", Peak: 600_000})
		if err != nil {
			t.Fatal(err)
		}
		other := publish(t, o.Hub, "cam_hand") // somebody's own, by a like name
		open(other)
		for _, in := range []*Ingest{cam, small} {
			open(in)
		}
		for ms := 0; ms < 8000; ms += 40 { // 2 KB each 40 ms: 400 kbit/s; and a burst of twice that in one second
			for _, in := range []*Ingest{cam, small} {
				p := picture(ms, ms%1000 == 0)
				n := 2000
				if ms >= 3000 && ms < 4000 {
					n = 4000
				}
				p.Payload = append(p.Payload, make([]byte, n-len(p.Payload))...)
				in.WriteTag(p)
			}
			time.Sleep(40 * time.Millisecond)
		}
		code, body := get("/live/cam/master.m3u8?key=a%2Fb")
		want := regexp.MustCompile(`^#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-INDEPENDENT-SEGMENTS\n` +
			`#EXT-X-STREAM-INF:BANDWIDTH=(\d+),AVERAGE-BANDWIDTH=(\d+),CODECS="avc1.42001e,mp4a.40.2",RESOLUTION=1280x720\nfmp4.m3u8\?key=a%2Fb\n` +
			`#EXT-X-STREAM-INF:BANDWIDTH=\d+,AVERAGE-BANDWIDTH=\d+,CODECS="avc1.42001e,mp4a.40.2",RESOLUTION=1280x720\n../cam_240p/fmp4.m3u8\?key=a%2Fb\n$`)
		m := want.FindStringSubmatch(body)
		if code != 200 || m == nil {
			t.Fatalf("got %d\n%s", code, body)
		}
		var peak, average int
		fmt.Sscan(m[1], &peak)
		fmt.Sscan(m[2], &average)
		if peak < 800_000 || peak > 1_000_000 || average < 400_000 || average > 520_000 {
			t.Errorf("at most %d, want 800000 and a little; on average %d, want 457000", peak, average)
		}
		small.Close()
		if _, body := get("/live/cam/master.m3u8"); strings.Contains(body, "240p") {
			t.Errorf("a rendition that is away is still named:\n%s", body)
		}
	})
}

// The rate is found by the stream's own time, whatever the spacing of key frames.
func TestRateMeter(t *testing.T) {
	var m rateMeter
	for i := range uint32(210) { // over the wrap, without key frames
		m.add(1000, false, 0xffffff00+100*i)
	}
	if m.peak < 79_000 || m.peak > 82_000 || m.average() < 79_000 || m.average() > 82_000 {
		t.Errorf("10 KB a second: at most %.0f, on average %d bit/s", m.peak, m.average())
	}
	m = rateMeter{}
	m.add(500_000, true, 0)
	m.add(500_000, true, 10) // two key frames in a row are one group
	m.add(1000, true, 1000)
	if m.peak > 8_000_001 || m.peak < 7_900_000 {
		t.Errorf("a megabyte a second: got %.0f bit/s", m.peak)
	}
}
