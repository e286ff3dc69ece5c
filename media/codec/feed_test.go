//go:build cgo

package codec

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"braid/media"
	"braid/media/h264"
)

func newFeedDecoder(t testing.TB, w, h int) *VideoDecoder {
	t.Helper()
	d, err := NewFeedDecoder(w, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// B-frames come out in display order, each picture the very one that ffmpeg
// decodes, with the PTS that went in with it.
func TestFeedReorders(t *testing.T) {
	const n = 60
	clip := makeClip(t, media.H264, 320, 180, n, "-bf", "3", "-preset", "medium", "-g", "25")
	want := clip.raw(t)
	d := newFeedDecoder(t, 320, 180)
	var got []byte
	var order []time.Duration
	for i, au := range clip.units {
		pic, err := d.Decode(au, time.Duration(i))
		if err != nil {
			t.Fatalf("access unit %d: %v", i, err)
		}
		if pic != nil {
			got = append(got, pack(&pic.Picture)...)
			order = append(order, pic.PTS)
			pic.Free()
		}
	}
	if len(order) < n-4 || !bytes.Equal(got, want[:len(got)]) {
		t.Fatalf("%d pictures of %d, equal to ffmpeg's: %t", len(order), n, bytes.Equal(got, want[:len(got)]))
	}
	moved := 0
	for i, pts := range order {
		if pts != time.Duration(i) {
			moved++
		}
	}
	if moved < n/3 {
		t.Errorf("only %d of %d pictures were coded out of order: is this a stream with B-frames? %v", moved, n, order)
	}
}

// Other chroma formats and depths come out as 8 bit 4:2:0, near what swscale makes.
func TestFeedFormats(t *testing.T) {
	for _, format := range []string{"yuv420p", "yuv422p", "yuv444p", "gray", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuvj444p"} {
		t.Run(format, func(t *testing.T) {
			clip := makeClip(t, media.H264, 160, 96, 3, "-pix_fmt", format)
			want := clip.raw(t, "-pix_fmt", "yuv420p", "-vf", "scale=out_range=limited:flags=accurate_rnd", "-color_range", "tv")
			d := newFeedDecoder(t, 160, 96)
			const size = 160 * 96 * 3 / 2
			for i, au := range clip.units {
				pic, err := d.Decode(au, 0)
				if err != nil || pic == nil {
					t.Fatalf("access unit %d: got picture %v, error %v", i, pic != nil, err)
				}
				got := pack(&pic.Picture)
				pic.Free()
				ref := want[i*size : (i+1)*size]
				if y := psnr(got[:160*96], ref[:160*96]); y < 48 {
					t.Errorf("picture %d: luma %.1f dB from swscale's, want 48", i, y)
				}
				if c := psnr(got[160*96:], ref[160*96:]); c < 30 {
					t.Errorf("picture %d: chroma %.1f dB from swscale's, want 30", i, c)
				}
			}
		})
	}
}

// A feed that has no IDR but its first is decoded from a recovery point on, to the
// very pictures of a decoder that saw all of it.
func TestFeedRecoveryPoint(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
	}{
		{"intra refresh", []string{"-intra-refresh", "1", "-g", "20"}},
		{"open groups", []string{"-x264-params", "aud=1:open-gop=1:bframes=2:keyint=20:scenecut=0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			const n = 90
			clip := makeClip(t, media.H264, 320, 180, n, c.args...)
			sets := slices.DeleteFunc(slices.Clone(clip.units[0]), func(u []byte) bool {
				return h264.Type(u) != h264.TypeSPS && h264.Type(u) != h264.TypePPS
			})
			want := map[time.Duration][]byte{}
			d := newFeedDecoder(t, 320, 180)
			begin := 0
			for i, au := range clip.units {
				if i > 0 && h264.IsKey(au) {
					t.Fatalf("picture %d is an IDR", i)
				}
				if begin == 0 && i > 0 && h264.IsRecoveryPoint(au) {
					begin = i
				}
				if pic, err := d.Decode(au, time.Duration(i)); err != nil {
					t.Fatal(err)
				} else if pic != nil {
					want[pic.PTS] = pack(&pic.Picture)
					pic.Free()
				}
			}
			if begin == 0 {
				t.Fatal("no recovery point")
			}
			late := newFeedDecoder(t, 320, 180)
			same := 0
			for i, au := range clip.units[begin-1:] {
				if i == 1 {
					au = append(slices.Clone(sets), au...)
				}
				pic, err := late.Decode(au, time.Duration(begin-1+i))
				if i == 0 && !errors.Is(err, ErrNeedKey) || i > 0 && err != nil {
					t.Fatalf("access unit %d: %v", i, err)
				}
				if pic == nil {
					continue
				}
				if !bytes.Equal(pack(&pic.Picture), want[pic.PTS]) {
					t.Fatalf("picture %d differs", pic.PTS)
				}
				same++
				pic.Free()
			}
			if same < n-begin-25 {
				t.Errorf("%d pictures from picture %d on", same, begin)
			}
		})
	}
}

// What a feed decoder does not take, it refuses before libavcodec sees it.
func TestFeedLimits(t *testing.T) {
	clip := makeClip(t, media.H264, 322, 182, 1, "-pix_fmt", "yuv444p")
	if pic, err := newFeedDecoder(t, 320, 176).Decode(clip.units[0], 0); pic != nil || !errors.Is(err, ErrTooLarge) {
		t.Errorf("322x182 for 320x176: got picture %v, error %v; want ErrTooLarge", pic != nil, err)
	}
	d := newFeedDecoder(t, 322, 182)
	d.Close()
	if _, err := d.Decode(clip.units[0], 0); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: got %v, want ErrClosed", err)
	}
}
