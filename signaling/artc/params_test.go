package artc

import (
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

var trees = []struct {
	what  string
	query string
	want  string // JSON, or the error when it does not begin with {
}{
	{"nothing", "", `{}`},
	{"transport parameters are left out", "Action=A&Version=1&Format=JSON&AccessKeyId=x&Timestamp=t&Signature=s&SignatureMethod=m&SignatureVersion=v&SignatureNonce=n&SignatureType=&SecurityToken=&RegionId=r&AppId=a", `{"AppId":"a"}`},
	{"flattened list", "Users.2=b&Users.1=a", `{"Users":["a","b"]}`},
	{"list of ten", "U.10=j&U.1=a&U.2=b&U.3=c&U.4=d&U.5=e&U.6=f&U.7=g&U.8=h&U.9=i", `{"U":["a","b","c","d","e","f","g","h","i","j"]}`},
	{"list as JSON", `MultiStreamURL=[{"URL":"u","IsAliCdn":true}]`, `{"MultiStreamURL":[{"URL":"u","IsAliCdn":"true"}]}`},
	{"list in parts", `MultiStreamURL.1.URL=u&MultiStreamURL.1.IsAliCdn=true`, `{"MultiStreamURL":[{"URL":"u","IsAliCdn":"true"}]}`},
	{"list of texts as JSON", `TerminalIds=["1811",42]`, `{"TerminalIds":["1811","42"]}`},
	{"a list of texts that is a text", `Users=u1,u2`, `{"Users":"u1,u2"}`},
	{"object as JSON", `SeiParams={"LayoutVolume":{"Interval":1000,"FollowIdr":null}}`, `{"SeiParams":{"LayoutVolume":{"Interval":"1000"}}}`},
	{"object in parts", `SeiParams.LayoutVolume.Interval=1000`, `{"SeiParams":{"LayoutVolume":{"Interval":"1000"}}}`},
	{"a number keeps its digits", `SeiParams={"a":1e400,"b":0.10}`, `{"SeiParams":{"a":"1e400","b":"0.10"}}`},
	{"digits as names of a JSON object", `SeiParams={"1":"a"}`, `{"SeiParams":{"1":"a"}}`},
	{"a text that looks like JSON", `CustomSei={"a":1}`, `{"CustomSei":"{\"a\":1}"}`},
	{"an empty structure", `SeiParams=&TranscodeParams= &MultiStreamURL=null`, `{}`},

	{"both ways", `SeiParams={}&SeiParams.PayloadType=100`, "InvalidParam: SeiParams is given both as a value and in parts"},
	{"value and parts", `A.B=1&A.B.C=2`, "InvalidParam: A.B is given both as a value and in parts"},
	{"index 0", "Users.0=a", "InvalidParam: Users: the indexes are not 1 to 1"},
	{"index 01", "Users.01=a", "InvalidParam: Users: the indexes are not 1 to 1"},
	{"a gap", "Users.1=a&Users.3=c", "InvalidParam: Users: the indexes are not 1 to 2"},
	{"a huge index", "Users.1000000000000=a", "InvalidParam: Users: the indexes are not 1 to 1"},
	{"indexes and names", "Users.1=a&Users.b=c", "InvalidParam: Users: the indexes are not 1 to 2"},
	{"empty name", "=a", `InvalidParam: "" is not a parameter name`},
	{"empty step", "A..B=a", `InvalidParam: "A..B" is not a parameter name`},
	{"trailing dot", "A.=a", `InvalidParam: "A." is not a parameter name`},
	{"deep", "A.B.C.D.E.F.G.H.I=a", "InvalidParam: A.B.C.D.E.F.G.H.I: deeper than 8 levels"},
	{"deep JSON", `SeiParams=` + strings.Repeat("[", 9) + strings.Repeat("]", 9), "InvalidParam: SeiParams.1.1.1.1.1.1.1.1: deeper than 8 levels"},
	{"broken JSON", `SeiParams={"a":`, "InvalidParam: SeiParams is not a JSON text: unexpected EOF"},
	{"a list of texts that breaks off", `Events=["a"`, "InvalidParam: Events is not a JSON text: unexpected EOF"},
	{"a list of texts both ways", `Events=["a"]&Events.1=b`, "InvalidParam: Events is given both as a value and in parts"},
	{"more after JSON", `SeiParams={} {}`, "InvalidParam: SeiParams is not a JSON text: more follows its end"},
	{"null in a list", `MultiStreamURL=[null]`, "InvalidParam: MultiStreamURL.1 is null"},
	{"long list", "MultiStreamURL=[" + strings.Repeat("1,", 1000) + "1]", "InvalidParam: MultiStreamURL: more than 1000 entries"},
	{"long name", strings.Repeat("a", 200) + "..=", `InvalidParam: "` + strings.Repeat("a", 64) + `…" is not a parameter name`},
}

func TestDecode(t *testing.T) {
	for _, c := range trees {
		params := map[string]string{}
		if err := addParams(params, "query", c.query); err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		got, err := decode(params)
		if !strings.HasPrefix(c.want, "{") {
			if err == nil || err.Error() != c.want {
				t.Errorf("%s:\ngot  %v\nwant %s", c.what, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		diff(t, c.what, got, tree(t, c.want))
	}
}

func TestDecodeBounds(t *testing.T) {
	params := map[string]string{}
	for i := range maxIndex + 1 {
		params["Users."+strconv.Itoa(i+1)] = "u"
	}
	if _, err := decode(params); err == nil || err.Error() != "InvalidParam: Users: more than 1000 entries" {
		t.Errorf("1001 entries: got %v", err)
	}
	delete(params, "Users.1001")
	if tree, err := decode(params); err != nil || len(tree["Users"].([]any)) != maxIndex {
		t.Errorf("1000 entries: got %v", err)
	}
	wide := "[" + strings.Repeat("[1,1,1,1,1,1,1,1,1],", 900) + "1]"
	_, err := decode(map[string]string{"MultiStreamURL": wide})
	if err == nil || !strings.HasSuffix(err.Error(), "more than 8192 values in the request") {
		t.Errorf("9901 nodes: got %v", err)
	}
	many := url.Values{}
	for i := range maxParams + 1 {
		many.Set("p"+strconv.Itoa(i), "")
	}
	if err := addParams(map[string]string{}, "query", many.Encode()); err == nil || err.Error() != "InvalidParam: more than 4096 parameters" {
		t.Errorf("4097 parameters: got %v", err)
	}
}

// FuzzDecode: whatever arrives, the tree is bounded and of the promised types,
// decoding it again from its dotted form gives the same tree, and a spec that
// is accepted keeps relay.Spec's promises.
func FuzzDecode(f *testing.F) {
	for _, c := range trees {
		f.Add(c.query)
	}
	for _, name := range []string{"v2-StartLiveMPUTask", "v1-StartLiveMPUTask"} {
		f.Add(values(capturedParams(f, name)).Encode())
	}
	f.Fuzz(func(t *testing.T, query string) {
		params := map[string]string{}
		if err := addParams(params, "query", query); err != nil {
			return
		}
		tree, err := decode(params)
		if err != nil {
			return
		}
		nodes := 0
		plain := checkTree(t, tree, 0, &nodes)
		for _, name := range structured {
			if _, text := tree[name].(string); text {
				plain = false // it would be read as JSON once more
			}
		}
		if plain {
			dotted := map[string]string{}
			flatten("", tree, dotted)
			again, err := decode(dotted)
			if err != nil || !reflect.DeepEqual(again, tree) {
				t.Fatalf("dotted %v: got %v, %v, want %v", dotted, again, err, tree)
			}
		}
		for _, name := range lists {
			f := newFields(tree)
			for _, s := range f.texts(name, maxIndex) {
				if s == "" && f.err() == nil {
					t.Fatalf("%s has an empty text", name)
				}
			}
		}
		f := newFields(tree)
		s := taskSpec(f, "app", true)
		if f.err() != nil {
			return
		}
		for i, p := range s.Panes {
			if !(p.X >= 0 && p.Y >= 0 && p.W > 0 && p.H > 0 && p.X+p.W <= 1 && p.Y+p.H <= 1) {
				t.Fatalf("pane %d is not inside the canvas: %+v", i+1, p)
			}
		}
		if n := len(s.URLs); n < 1 || n > maxURLs {
			t.Fatalf("%d URLs", n)
		}
		if e := s.Encode; s.Mode == 1 && !e.AudioOnly && (e.Width < 2 || e.Height < 2 || e.Width%2+e.Height%2 != 0) {
			t.Fatalf("size %dx%d", e.Width, e.Height)
		}
	})
}

// checkTree checks bounds and types; plain tells whether dotted names can say the same.
func checkTree(t *testing.T, v any, depth int, nodes *int) (plain bool) {
	if *nodes++; *nodes > maxNodes+1 || depth > maxDepth {
		t.Fatalf("%d nodes, depth %d", *nodes, depth)
	}
	plain = true
	switch v := v.(type) {
	case string:
	case map[string]any:
		plain = len(v) > 0 || depth == 0
		for k, v := range v {
			named := k != "" && !strings.Contains(k, ".") && (k[0] < '0' || k[0] > '9' || depth == 0)
			plain = checkTree(t, v, depth+1, nodes) && named && plain
		}
	case []any:
		plain = len(v) > 0
		if len(v) > maxIndex {
			t.Fatalf("a list of %d", len(v))
		}
		for _, v := range v {
			plain = checkTree(t, v, depth+1, nodes) && plain
		}
	default:
		t.Fatalf("a node of type %T", v)
	}
	return plain
}
