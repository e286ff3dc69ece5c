package sei

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"braid/internal/testkit"
	"braid/media/h264"
)

// nals are NAL units and the messages in them; the fuzz target starts from them.
var nals = []struct {
	name string
	nal  string
	msgs []Message
}{
	{"one", "0664020a0b80", []Message{{100, []byte{10, 11}}}},
	{"empty payload", "06640080", []Message{{100, nil}}},
	{"two", "0605010164010280", []Message{{5, []byte{1}}, {100, []byte{2}}}},
	{"type over 255", "06ff020080", []Message{{257, nil}}},
	{"type 255", "06ff000080", []Message{{255, nil}}},
	{"zeros", "0664050000030000030080", []Message{{100, make([]byte, 5)}}},
}

func TestNAL(t *testing.T) {
	for _, c := range nals {
		nal := AppendNAL([]byte{0xee}, c.msgs...)
		if got := hex.EncodeToString(nal); got != "ee"+c.nal {
			t.Errorf("%s: got %s, want ee%s", c.name, got, c.nal)
		}
		got, err := Parse(nal[1:])
		if err != nil || !sameMessages(got, c.msgs) {
			t.Errorf("%s: got %v, %v, want %v", c.name, got, err, c.msgs)
		}
	}
	long := Message{243, bytes.Repeat([]byte{7}, 630)}
	nal := AppendNAL(nil, long)
	if !bytes.HasPrefix(nal, []byte{6, 243, 0xff, 0xff, 120, 7}) {
		t.Errorf("630 bytes begin with %x", nal[:6])
	}
}

func TestParseErrors(t *testing.T) {
	for name, s := range map[string]string{
		"empty": "", "header": "06", "other type": "6764020a0b80", "no trailing bits": "0664020a0b", "zeros": "06000000",
		"short payload": "0664030a0b80", "no size": "066480", "endless type": "06ffffff80", "huge size": "0664ffffff0180",
	} {
		if got, err := Parse(testkit.Unhex(t, s)); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
	if got, err := Parse(testkit.Unhex(t, "0664020a0b800000")); err != nil || len(got) != 1 {
		t.Errorf("zeros behind the unit: got %v, %v, want one message", got, err)
	}
}

func TestNALRandom(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		msgs := make([]Message, 1+rnd.IntN(3))
		for i := range msgs {
			msgs[i] = Message{rnd.IntN(600), make([]byte, rnd.IntN(40)*(1+rnd.IntN(20)))}
			for j := range msgs[i].Payload {
				msgs[i].Payload[j] = byte(rnd.IntN(5) * rnd.IntN(2)) // half zeros, else 0 to 4
			}
		}
		nal := AppendNAL(nil, msgs...)
		for i := range len(nal) - 2 {
			if nal[i] == 0 && nal[i+1] == 0 && nal[i+2] < 3 {
				t.Fatalf("%x holds a start code or its like", nal)
			}
		}
		if got, err := Parse(nal); err != nil || !sameMessages(got, msgs) {
			t.Fatalf("got %v, %v, want %v", got, err, msgs)
		}
	}
}

func TestUser(t *testing.T) {
	body := []byte(`{"stream":[]}`)
	if m := User(5, body); m.Type != 5 || string(m.Payload) != UUID+string(body) {
		t.Errorf("type 5: got %v", m)
	}
	if m := User(100, body); m.Type != 100 || !bytes.Equal(m.Payload, body) {
		t.Errorf("type 100: got %v", m)
	}
}

func TestInsert(t *testing.T) {
	for _, c := range []struct{ units, want string }{
		{"09 67 68 65 65", "09 67 68 06ff 65 65"},
		{"67 68 0601 65", "67 68 0601 06ff 65"},
		{"41", "06ff 41"},
		{"0601 6e 41 41", "0601 06ff 6e 41 41"},
		{"67 68", "67 68 06ff"},
		{"", "06ff"},
	} {
		var units [][]byte
		for _, s := range strings.Fields(c.units) {
			units = append(units, testkit.Unhex(t, s))
		}
		before := slices.Clone(units)
		var got []string
		for _, u := range Insert(units[:len(units):cap(units)], []byte{6, 0xff}) {
			got = append(got, hex.EncodeToString(u))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: got %s, want %s", c.units, s, c.want)
		}
		if !slices.EqualFunc(units, before, bytes.Equal) {
			t.Errorf("%s: the old units changed", c.units)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	single := &Layout{[]Stream{{UID: "ann", PaneID: -1, Vol: 12, Vad: 150}}}
	const one = `{"uid":"ann","paneid":-1,"zorder":0,"x":0,"y":0,"w":0,"h":0,"type":0,"ms":0,"vol":12,"vad":150}`
	mixed := &Layout{[]Stream{
		{UID: "ann", X: 0.5018382, Y: 0.25, W: 1. / 3, H: 1},
		{UID: "b\"o\\b\n\x00\xff", PaneID: 1, ZOrder: 2, X: math.NaN(), Y: math.Inf(1), W: float64(float32(0.4968)), H: 1e-9, Type: 3, MS: 4, Vol: 255},
	}}
	const two = `{"uid":"ann","paneid":0,"zorder":0,"x":0.5018382,"y":0.25,"w":0.3333333,"h":1,"type":0,"ms":0,"vol":0,"vad":0},` +
		`{"uid":"b\"o\\b\u000a\u0000` + "\ufffd" + `","paneid":1,"zorder":2,"x":0,"y":0,"w":0.4968,"h":0,"type":3,"ms":4,"vol":255,"vad":0}`
	for _, c := range []struct {
		layout  *Layout
		content *Content
		want    string
	}{
		{single, nil, `{"stream":[` + one + `]}`},
		{mixed, nil, `{"stream":[` + two + `]}`},
		{&Layout{}, nil, `{"stream":[]}`},
		{single, &Content{Text: "hi"}, `{"stream":[` + one + `],"udd":"hi"}`},
		{nil, &Content{Text: `{"a":1}`}, `{"udd":"{\"a\":1}"}`},
		{nil, &Content{Key: "kéy", Text: "日本"}, `{"kéy":"日本"}`},
		{nil, nil, `{}`},
	} {
		got := AppendJSON([]byte("x"), c.layout, c.content)
		if string(got) != "x"+c.want {
			t.Errorf("got  %s\nwant x%s", got, c.want)
		}
		if !json.Valid(got[1:]) {
			t.Errorf("not JSON: %s", got)
		}
	}
}

func TestAppendFloat(t *testing.T) {
	for v, want := range map[float64]string{
		math.Copysign(0, -1): "0", -1e-12: "0", 1e-7: "0.0000001", -0.5: "-0.5", 1e21: "1000000000000000000000",
		123456.7890123: "123456.7890123",
	} {
		if got := string(appendFloat(nil, v)); got != want {
			t.Errorf("%g: got %s, want %s", v, got, want)
		}
	}
}

func FuzzAppendJSON(f *testing.F) {
	f.Add("ann", "udd", "hello", 0.5018382, 3)
	f.Add("\xff\x00\"\\\u2028", "", "", math.Inf(-1), -1)
	f.Fuzz(func(t *testing.T, uid, key, text string, x float64, n int) {
		b := AppendJSON(nil, &Layout{[]Stream{{UID: uid, PaneID: n, X: x, Vol: n}}}, &Content{key, text})
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
		if key == "" {
			key = DefaultKey
		}
		if key = strings.ToValidUTF8(key, ""); key != "" && key != "stream" && !strings.ContainsRune(string(b), '\ufffd') && got[key] != text {
			t.Fatalf("%s: got %q, want %q", b, got[key], text)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, c := range nals {
		f.Add(testkit.Unhex(f, c.nal))
	}
	f.Add(testkit.Unhex(f, "060000030080"))
	f.Add(AppendNAL(nil, User(5, AppendJSON(nil, &Layout{[]Stream{{UID: "ann"}}}, nil))))
	f.Fuzz(func(t *testing.T, nal []byte) {
		msgs, err := Parse(nal)
		if err != nil {
			return
		}
		size := 0
		for _, m := range msgs {
			size += len(m.Payload)
		}
		if size > len(nal) {
			t.Fatalf("%d bytes of payload from %d", size, len(nal))
		}
		again := AppendNAL(nil, msgs...)
		if got, err := Parse(again); err != nil || !sameMessages(got, msgs) {
			t.Fatalf("again: got %v, %v, want %v", got, err, msgs)
		}
		if h264.StartCode(again) >= 0 {
			t.Fatalf("%x holds a start code", again)
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	l := &Layout{}
	for i := range 4 {
		l.Stream = append(l.Stream, Stream{UID: fmt.Sprint("user", i), PaneID: i, X: 0.5018382, Y: 0.0021, W: 0.4968, H: 0.4968, Vol: 40, Vad: 150})
	}
	var body, nal []byte
	b.ReportAllocs()
	for b.Loop() {
		body = AppendJSON(body[:0], l, nil)
		nal = AppendNAL(nal[:0], User(5, body))
	}
	if len(nal) < 300 {
		b.Fatalf("got %d bytes", len(nal))
	}
}

func sameMessages(a, b []Message) bool {
	return slices.EqualFunc(a, b, func(m, n Message) bool { return m.Type == n.Type && bytes.Equal(m.Payload, n.Payload) })
}
