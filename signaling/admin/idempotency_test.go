package admin

import (
	"strings"
	"sync"
	"testing"
	"time"
)

func TestIdempotencyKey(t *testing.T) {
	s := start(t)
	create := func(key, body string) answer {
		t.Helper()
		return s.do("POST", "/v1/applications", body, "Idempotency-Key", key)
	}
	first := create("k1", `{"name":"once"}`).expect(201)
	again := create("k1", `{"name":"once"}`).expect(201)
	if again.text != first.text || again.etag() != first.etag() || again.header.Get("Location") != first.header.Get("Location") ||
		again.header.Get("Idempotency-Replayed") != "true" || first.header.Get("Idempotency-Replayed") != "" {
		t.Errorf("got %v %s, want the first answer %v %s", again.header, again.text, first.header, first.text)
	}
	create("k1", `{"name":"twice"}`).expect(422, "another body")
	if create("k2", `{"name":"once"}`).expect(201).str("id") == first.str("id") {
		t.Error("another key has got the first answer")
	}
	// An error is not kept: the request can be put right.
	create("k3", `{}`).expect(400)
	create("k3", `{"name":"right"}`).expect(201)
	create(strings.Repeat("k", maxIdempotencyKey), `{"name":"x"}`).expect(201)
	create(strings.Repeat("k", maxIdempotencyKey+1), `{"name":"x"}`).field("Idempotency-Key", "1 to 128")
	// A key belongs to its path.
	s.do("POST", "/v1/domains", `{"name":"d","ingest":"rtmp://h"}`, "Idempotency-Key", "k1").expect(201)

	path := "/v1/applications/" + first.str("id")
	rotated := s.do("POST", path+"/rotate-key", `{"keep_previous_seconds":0}`, "Idempotency-Key", "r").expect(200)
	if got := s.do("POST", path+"/rotate-key", `{"keep_previous_seconds":0}`, "Idempotency-Key", "r").expect(200); got.text != rotated.text {
		t.Errorf("rotated twice: %s, then %s", rotated.text, got.text)
	}
	sub := s.do("POST", path+"/callbacks", `{"kind":"mpu","url":"http://h/"}`, "Idempotency-Key", "c").expect(201)
	if got := s.do("POST", path+"/callbacks", `{"kind":"mpu","url":"http://h/"}`, "Idempotency-Key", "c").expect(201); got.text != sub.text {
		t.Errorf("created twice: %s, then %s", sub.text, got.text)
	}

	s.advance(24*time.Hour - time.Millisecond)
	create("k1", `{"name":"once"}`).expect(201, first.str("id"))
	s.advance(time.Millisecond)
	if create("k1", `{"name":"once"}`).expect(201).str("id") == first.str("id") {
		t.Error("a day later the first answer came again")
	}
}

// Requests with one key that arrive at the same time create one thing.
func TestIdempotencyKeyAtOnce(t *testing.T) {
	s := start(t)
	s.app("app1")
	var wg sync.WaitGroup
	for range 8 {
		for _, r := range []struct{ path, body string }{
			{"/v1/applications", `{"name":"once"}`},
			{"/v1/applications/app1/callbacks", `{"kind":"room","url":"http://h/","channels":["c"],"events":["UserEvent"]}`},
		} {
			wg.Go(func() {
				if a := s.do("POST", r.path, r.body, "Idempotency-Key", "k"); a.status != 201 {
					t.Errorf("%s: got %d %s", r.path, a.status, a.text)
				}
			})
		}
	}
	wg.Wait()
	if got := s.do("GET", "/v1/applications", nil).ids("id"); len(got) != 2 {
		t.Errorf("got the applications %v, want app1 and one more", got)
	}
	if got := s.do("GET", "/v1/applications/app1/callbacks", nil).ids("id"); len(got) != 1 {
		t.Errorf("got the callbacks %v, want one", got)
	}
}
