package token

import (
	"errors"
	"testing"
	"time"
)

func TestPeek(t *testing.T) {
	now := time.Unix(1700000000, 0)
	want := Claims{App: "app", Channel: "room", User: "ann", Expires: now.Add(time.Hour), Camera: true, Subscribe: true, Role: Viewer}
	signed, err := SignJWT(want, "key", now)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Peek(signed); err != nil || got != want {
		t.Errorf("JWT: got %+v, %v", got, err)
	}
	want = Claims{App: "app", Channel: "room", User: "ann", Expires: now.Add(time.Hour), Camera: true, ShareScreen: true, Subscribe: true, Mix: true}
	if got, err := Peek(Sign("app", "key", "room", "ann", now.Add(time.Hour)).String()); err != nil || got != want {
		t.Errorf("ARTC: got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "hello", "a.b.c", "e30"} {
		if got, err := Peek(bad); !errors.Is(err, ErrFormat) {
			t.Errorf("%q: got %+v, %v", bad, got, err)
		}
	}
}
