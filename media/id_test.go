package media

import (
	"strings"
	"testing"
)

func TestIsID(t *testing.T) {
	for s, want := range map[string]bool{
		"": false, "a": true, "Az09_-": true, "a b": false, " a": false, "a\n": false, "a.b": false, "é": false, "a\x00": false,
		strings.Repeat("x", MaxID): true, strings.Repeat("x", MaxID+1): false,
	} {
		if got := IsID(s, MaxID); got != want {
			t.Errorf("%q: got %v, want %v", s, got, want)
		}
	}
}
