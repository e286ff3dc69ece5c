package sei

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strconv"
	"testing"

	"braid/media/h264"
)

func ffmpeg(t *testing.T, input []byte, args ...string) (stdout, stderr []byte) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Skip("ffmpeg is not installed")
	}
	cmd := exec.Command("ffmpeg", append([]string{"-hide_banner", "-nostats"}, args...)...)
	var out, complaints bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &out, &complaints
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg %v: %v: %s", args, err, complaints.Bytes())
	}
	return out.Bytes(), complaints.Bytes()
}

// TestFFmpegReads puts a message into each picture of an x264 stream and lets
// ffmpeg's own parser read them back; its decoder must not notice.
func TestFFmpegReads(t *testing.T) {
	const pictures = 8
	plain, _ := ffmpeg(t, nil, "-v", "error", "-f", "lavfi", "-i", "testsrc2=size=128x96:rate=25", "-frames:v", fmt.Sprint(pictures),
		"-c:v", "libx264", "-preset", "ultrafast", "-threads", "1", "-tune", "zerolatency", "-x264-params", "keyint=4:slices=1:aud=1", "-f", "h264", "-")
	var stream []byte
	var want []Message
	var au [][]byte
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, u := range h264.SplitAnnexB(nil, plain) {
		au = append(au, u)
		if !h264.IsSlice(u) {
			continue
		}
		body := make([]byte, 1+rnd.IntN(700))
		for i := range body {
			body[i] = byte(rnd.IntN(4) * rnd.IntN(2))
		}
		m := User([]int{5, 100, 243, 254}[len(want)%4], body)
		want = append(want, m)
		stream = h264.AppendAnnexB(stream, Insert(au, AppendNAL(nil, m)))
		au = nil
	}
	if len(want) != pictures {
		t.Fatalf("x264 made %d pictures, want %d", len(want), pictures)
	}

	_, trace := ffmpeg(t, stream, "-v", "verbose", "-f", "h264", "-i", "-", "-c", "copy", "-bsf:v", "trace_headers", "-f", "null", "-")
	got := traced(t, string(trace))
	got = got[len(got)-len(want):]
	if !sameMessages(got, want) {
		t.Fatalf("ffmpeg reads\n%v\nwant\n%v", got, want)
	}

	before, _ := ffmpeg(t, plain, "-v", "error", "-f", "h264", "-i", "-", "-f", "rawvideo", "-")
	after, complaints := ffmpeg(t, stream, "-v", "error", "-f", "h264", "-i", "-", "-f", "rawvideo", "-")
	if len(complaints) > 0 || !bytes.Equal(before, after) {
		t.Fatalf("decoded %d bytes, want %d and the same; ffmpeg says: %s", len(after), len(before), complaints)
	}
}

var field = regexp.MustCompile(`(?m) (last_payload_type_byte|last_payload_size_byte|ff_byte|uuid_iso_iec_11578\[\d+\]|user_data_payload_byte\[\d+\]|payload_byte\[\d+\]|data\[\d+\]) +[01]+ = (\d+)`)

// traced collects the messages of trace_headers' lines.
func traced(t *testing.T, s string) (msgs []Message) {
	t.Helper()
	high, size := 0, 0
	for _, m := range field.FindAllStringSubmatch(s, -1) {
		v, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		switch m[1] {
		case "ff_byte":
			high += 255
		case "last_payload_type_byte":
			msgs, high = append(msgs, Message{Type: high + v}), 0
		case "last_payload_size_byte":
			size, high = high+v, 0
		default:
			last := &msgs[len(msgs)-1]
			if last.Payload = append(last.Payload, byte(v)); len(last.Payload) > size {
				t.Fatalf("message of type %d has more than %d bytes", last.Type, size)
			}
		}
	}
	return msgs
}
