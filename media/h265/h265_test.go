package h265

import (
	"testing"

	"braid/internal/testkit"
)

// x265's, for 160x120, for 322x182 in 8 and in 10 bits.
const (
	vps      = "40010c01ffff01600000030090000003000003001eba0240"
	sps      = "42010101600000030090000003000003001ea014207965ba924caf016808000003000800000300784" + "0"
	spsCrop  = "42010101600000030090000003000003003ca00a880c1c44d96e92930bc05a0200000300020000030" + "03c10"
	spsTen   = "42010102200000030090000003000003003ca00a880c1c44cd965654a4c2f01680800000030080000" + "00f04"
	pps      = "4401c172b46240"
	sublayer = "42010501600000030090000003000003001e" + "0000" + "a014207965ba924c" // sps_max_sub_layers_minus1 2, nothing present
)

var sets = []struct {
	name, nal string
	want      SPS
	ok        bool
}{
	{"160x120", sps, SPS{Width: 160, Height: 120, CodedWidth: 160, CodedHeight: 120, ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8}, true},
	{"cropped", spsCrop, SPS{Width: 322, Height: 182, CodedWidth: 336, CodedHeight: 192, ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8}, true},
	{"ten bits", spsTen, SPS{Width: 322, Height: 182, CodedWidth: 336, CodedHeight: 192, ChromaFormat: 1, BitDepthLuma: 10, BitDepthChroma: 10}, true},
	{"sub-layers", sublayer, SPS{Width: 160, Height: 120, CodedWidth: 160, CodedHeight: 120, ChromaFormat: 1, BitDepthLuma: 8, BitDepthChroma: 8}, true},
	{"cut off", sps[:44], SPS{}, false},
	{"header alone", "4201", SPS{}, false},
	{"another layer", "4209" + sps[4:], SPS{}, false},
	{"VPS", vps, SPS{}, false},
	{"eight sub-layers", "42010f" + sps[6:], SPS{}, false},
	{"nothing", "", SPS{}, false},
}

func TestParseSPS(t *testing.T) {
	for _, c := range sets {
		got, err := ParseSPS(testkit.Unhex(t, c.nal))
		if (err == nil) != c.ok || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", c.name, got, err, c.want)
		}
	}
	nal := testkit.Unhex(t, spsCrop)
	if n := testing.AllocsPerRun(100, func() { ParseSPS(nal) }); n != 0 {
		t.Errorf("%v allocations, want none", n)
	}
}

func TestSetID(t *testing.T) {
	for nal, want := range map[string]int{vps: 0, "40013c": 3, sps: 0, pps: 0, "44016" + "0": 2, "4401": -1, "4001": -1, "2601af": -1, "4401000000": -1, "": -1} {
		id, ok := SetID(testkit.Unhex(t, nal))
		if !ok {
			id = -1
		}
		if id != want {
			t.Errorf("%s: got %d, want %d", nal, id, want)
		}
	}
}

func TestTypes(t *testing.T) {
	for _, c := range []struct {
		nal         string
		slice, irap bool
		starts      bool
	}{
		{"2601af", true, true, true}, {"26012f", true, true, false}, {"2a01af", true, true, true}, {"0201d0", true, false, true},
		{vps, false, false, false}, {"26", false, false, false}, {"2601", true, true, false}, {"", false, false, false},
	} {
		b := testkit.Unhex(t, c.nal)
		if IsSlice(b) != c.slice || IsIRAP(b) != c.irap || IsSlice(b) && StartsPicture(b) != c.starts {
			t.Errorf("%s: got %v, %v, %v", c.nal, IsSlice(b), IsIRAP(b), StartsPicture(b))
		}
	}
}

func FuzzH265(f *testing.F) {
	for _, c := range sets {
		f.Add(testkit.Unhex(f, c.nal))
	}
	f.Add(testkit.Unhex(f, pps))
	f.Fuzz(func(t *testing.T, b []byte) {
		SetID(b)
		s, err := ParseSPS(b)
		if err == nil && (s.Width < 1 || s.Height < 1 || s.Width > s.CodedWidth || s.Height > s.CodedHeight || s.CodedWidth > maxSide || s.ID > 15) {
			t.Fatalf("%+v", s)
		}
	})
}
