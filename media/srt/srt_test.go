package srt

import (
	"strings"
	"testing"
	"time"
)

// secret is in every URL; nothing that is said may show it.
const secret = "verysecretkey"

// urls are texts and what they mean: an error's words, or the target.
var urls = []struct {
	in    string
	wrong string
	want  target
	shown string
}{
	{"srt://h:9000", "", target{addr: "h:9000", latency: defaultLatency}, "srt://h:9000"},
	{"srt://h:9000?", "", target{addr: "h:9000", latency: defaultLatency}, "srt://h:9000?***"},
	{"srt://h:9000?streamid=" + secret, "", target{addr: "h:9000", streamID: secret, latency: defaultLatency}, "srt://h:9000?***"},
	{"SRT://[2001:db8::1]:1/?streamid=a%26b%3Dc+d&latency=20", "", target{addr: "[2001:db8::1]:1", streamID: "a&b=c+d", latency: 20 * time.Millisecond}, "srt://[2001:db8::1]:1?***"},
	{"srt://h:1?streamid=#!::m=publish,r=live/" + secret + "&passphrase=" + secret + "&pbkeylen=32&latency=8000", "",
		target{addr: "h:1", streamID: "#!::m=publish,r=live/" + secret, passphrase: secret, keyLength: 32, latency: 8 * time.Second}, "srt://h:1?***"},
	{"srt://h:1?mode=caller&transtype=live&pkt_size=1316&&latency=120", "", target{addr: "h:1", latency: 120 * time.Millisecond}, "srt://h:1?***"},
	{"", "not a valid URL", target{}, "***"},
	{"srt://", "host and a port", target{}, "***"},
	{"srt://h", "port from 1", target{}, "***"},
	{"srt://h:0", "port from 1", target{}, "***"},
	{"srt://h:65536", "port from 1", target{}, "***"},
	{"srt://:9000", "host", target{}, "***"},
	{"srt://" + secret + "@h:9", "may have a host", target{}, "***"},
	{"srt://h:9/live/" + secret, "streamid", target{}, "***"},
	{"rtmp://h:9/live/" + secret, "scheme", target{}, "***"},
	{"srt://h:9?streamid=%zz" + secret, "percent", target{}, "***"},
	{"srt://h:9?streamid=" + strings.Repeat("x", 513), "512", target{}, "***"},
	{"srt://h:9?passphrase=123456789", "10 to 79", target{}, "***"},
	{"srt://h:9?passphrase=" + strings.Repeat("x", 80), "10 to 79", target{}, "***"},
	{"srt://h:9?pbkeylen=16", "needs a passphrase", target{}, "***"},
	{"srt://h:9?passphrase=" + secret + "&pbkeylen=17", "16, 24 or 32", target{}, "***"},
	{"srt://h:9?latency=19", "20 to 8000 milliseconds", target{}, "***"},
	{"srt://h:9?latency=120000", "20 to 8000 milliseconds", target{}, "***"},
	{"srt://h:9?latency=9223372036854775807", "20 to 8000 milliseconds", target{}, "***"},
	{"srt://h:9?latency=", "20 to 8000 milliseconds", target{}, "***"},
	{"srt://h:9?mode=listener", "caller", target{}, "***"},
	{"srt://h:9?transtype=file", "live", target{}, "***"},
	{"srt://h:9?pkt_size=1400", "1316", target{}, "***"},
	{"srt://h:9?secret=" + secret, "not known", target{}, "***"},
	{"srt://h:9?latency=20&passphrase=0123456789&" + secret, "parameter 3 is not known", target{}, "***"}, // an & of the passphrase, as it is
	{"srt://h:9?passphrase=0123456789&" + secret + "=%zz", "parameter 2 is not percent-encoded", target{}, "***"},
	{"srt://h:9?streamid=" + secret + strings.Repeat("x", maxURL), "4096", target{}, "***"},
}

func TestURL(t *testing.T) {
	for _, c := range urls {
		got, err := parseURL(c.in)
		switch {
		case c.wrong == "" && (err != nil || *got != c.want):
			t.Errorf("%.80s: got %+v, %v; want %+v", c.in, got, err, c.want)
		case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), secret)):
			t.Errorf("%.80s: got %v, want words with %q and no secret", c.in, err, c.wrong)
		}
		if got := Redact(c.in); got != c.shown {
			t.Errorf("%.80s: shown as %s, want %s", c.in, got, c.shown)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, c := range urls {
		f.Add(c.in)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseURL(s)
		if err != nil {
			return
		}
		if a.latency < minLatency || a.latency > maxLatency || len(a.streamID) > maxStreamID || len(a.passphrase) > maxPassphrase {
			t.Errorf("%q: %+v is over a limit", s, a)
		}
		if b, err := parseURL(Redact(s)); err == nil && b.addr != a.addr {
			t.Errorf("%q is shown as another host, %q", s, b.addr)
		}
	})
}

func TestFlight(t *testing.T) {
	now := time.Now()
	var f flight
	const first = 1<<31 - 3 // the numbers go over the circle's end
	for i := range uint32(8) {
		f.add((first+i)&(1<<31-1), make([]byte, headerSize+int(i)), now.Add(time.Duration(i)*time.Millisecond))
	}
	size := func() (n int) {
		for _, p := range f.packets {
			n += len(p.wire)
		}
		return n
	}
	for _, seq := range []uint32{first, first - 1, 6, 1 << 30, 0x40000005} {
		if f.ack(seq) {
			t.Errorf("an acknowledgement of %d, which says nothing new, counts", seq)
		}
	}
	if got := len(f.lost(first+1, 1, now.Add(time.Second), time.Second/2, 64)); got != 4 {
		t.Errorf("sent again: %d packets, want 4", got)
	}
	if got := len(f.lost(0, 1000, now.Add(time.Second+time.Millisecond), time.Second/2, 64)); got != 3 {
		t.Errorf("sent again, with a rest for those that just were: %d packets, want 3", got)
	}
	if got := len(f.lost(first, 4, now.Add(time.Hour), 0, 3)); got != 3 {
		t.Errorf("sent again, three at most: %d", got)
	}
	if !f.ack(0) || len(f.packets) != 5 || f.packets[0].seq != 0 || f.bytes != size() || f.age(now.Add(time.Second)) != 997*time.Millisecond {
		t.Errorf("after the acknowledgement of 3: %d packets, %d bytes, first %d", len(f.packets), f.bytes, f.packets[0].seq)
	}
	if !f.ack(5) || len(f.packets) != 0 || f.bytes != 0 || f.age(now) != 0 || f.ack(5) || f.lost(0, 9, now, 0, 9) != nil {
		t.Errorf("after the last acknowledgement: %d packets, %d bytes", len(f.packets), f.bytes)
	}
}
