package store

import (
	"errors"
	"testing"

	"braid/media"
)

var cursors = []struct {
	text string
	ms   int64
	id   string
	ok   bool
}{
	{"1795348800123.shop", 1795348800123, "shop", true},
	{"0.a", 0, "a", true},
	{"-5.a", -5, "a", true},
	{"1.a.b", 1, "a.b", true},
	{"", 0, "", false},
	{"shop", 0, "", false},
	{".shop", 0, "", false},
	{"x.shop", 0, "", false},
	{"1.", 0, "", false},
	{"01.a", 0, "", false},
	{"+1.a", 0, "", false},
	{"99999999999999999999.shop", 0, "", false},
}

func TestCursor(t *testing.T) {
	for _, c := range cursors {
		ms, id, err := parseCursor(c.text)
		if !c.ok {
			if !errors.Is(err, media.ErrInvalid) {
				t.Errorf("%q: got %d, %q, %v, want media.ErrInvalid", c.text, ms, id, err)
			}
			continue
		}
		if ms != c.ms || id != c.id || err != nil {
			t.Errorf("%q: got %d, %q, %v, want %d, %q", c.text, ms, id, err, c.ms, c.id)
		}
	}
}

// There is one text for a place.
func FuzzCursor(f *testing.F) {
	for _, c := range cursors {
		f.Add(c.text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ms, id, err := parseCursor(text)
		if err != nil {
			return
		}
		if again := cursor(ms, id); again != text {
			t.Errorf("%q is written as %q", text, again)
		}
	})
}

func TestDollars(t *testing.T) {
	for query, want := range map[string]string{
		"":                          "",
		"a = ? AND b IN (?, ?)":     "a = $1 AND b IN ($2, $3)",
		"a = '?' AND b = ?":         "a = '?' AND b = $1",
		"a = 'it''s ?' AND b = ?":   "a = 'it''s ?' AND b = $1",
		"ü = ? ORDER BY '?', a, 'x": "ü = $1 ORDER BY '?', a, 'x",
	} {
		if got := dollars(query); got != want {
			t.Errorf("%q: got %q, want %q", query, got, want)
		}
	}
}
