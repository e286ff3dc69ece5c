package sfu

import (
	"os"
	"strings"
	"testing"
)

// TestSectionsOfTheirOwn: an offer whose sections have ICE credentials of their
// own gets the first bundled one's, and each of them is known to a PATCH.
func TestSectionsOfTheirOwn(t *testing.T) {
	b, err := os.ReadFile("testdata/offers/aiortc.sdp")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, c := range []struct{ group, ufrag string }{{"0 1", "XbM7"}, {"1 0", "6JRV"}, {"7 1 0", "6JRV"}, {"", "XbM7"}} {
		o, err := readOffer(strings.ReplaceAll(text, "BUNDLE 0 1", "BUNDLE "+c.group), publishing)
		if err != nil {
			t.Fatal(err)
		}
		for i, sec := range o.sections {
			if got, _ := sec.desc.Attribute("ice-ufrag"); got != c.ufrag || o.ufrag != c.ufrag {
				t.Errorf("BUNDLE %s, section %d: got %s and %s, want %s", c.group, i, got, o.ufrag, c.ufrag)
			}
			if all := strings.Count(strings.Join(attributeNames(sec), " "), "fingerprint"); all != 1 {
				t.Errorf("BUNDLE %s, section %d has %d fingerprints", c.group, i, all)
			}
		}
	}
	for ufrag, want := range map[string]bool{"XbM7": false, "6JRV": false, "new1": true} {
		restarted, err := withCredentials(text, fragment{ufrag, "0123456789012345678901"})
		if err != nil || (restarted != "") != want {
			t.Errorf("a fragment with %s: got a restart %v (%v), want %v", ufrag, restarted != "", err, want)
		}
	}
}

func attributeNames(sec *section) (names []string) {
	for _, a := range sec.desc.Attributes {
		names = append(names, a.Key)
	}
	return names
}
