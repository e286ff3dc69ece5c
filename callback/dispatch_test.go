package callback

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"braid/event"
	"braid/internal/testkit"
	"braid/media"
	"braid/store"
	"braid/store/storetest"
)

// TestDeliver sends events of several channels, appended in batches, to a
// receiver that fails half the time, on both engines, and starts the service
// anew in the middle.
func TestDeliver(t *testing.T) {
	storetest.Engines(t, func(t *testing.T, open func() *store.DB) {
		db := open()
		newApp(t, db, testApp)
		r := &receiver{respond: func(*message) int {
			if rand.IntN(2) == 0 {
				return http.StatusServiceUnavailable
			}
			return http.StatusOK
		}}
		url := r.listen(t)
		quick := Config{FirstRetry: time.Millisecond, MaxRetry: 4 * time.Millisecond}
		s, stop := start(t, db, quick)
		subscribe(t, s, testApp, url)

		const channels, each = 5, 40
		want := map[string]int{}
		for i := range each {
			if i == each/2 {
				stop()
				s, _ = start(t, db, quick)
			}
			var batch []event.Event
			for c := range channels {
				name := fmt.Sprintf("room%d", c)
				batch = append(batch, role(name, i))
				want[name] = each
			}
			add(t, db, batch...)
		}
		testkit.Eventually(t, "every message", func() bool { return r.count() >= channels*each })
		inOrder(t, r.messages(), want)
		testkit.Eventually(t, "an empty outbox", func() bool {
			st, err := s.Stats(t.Context())
			return err == nil && st.Waiting == 0 && st.InFlight == 0
		})
		all := records(t, s, store.RecordQuery{})
		if n := len(r.attempts()); len(all) != n {
			t.Errorf("got %d records of %d attempts", len(all), n)
		}
		for _, rec := range all {
			if ok := rec.Code == 200; ok != (rec.Failure == "") || !ok && (rec.Code != 503 || rec.Failure != "status") || rec.Payload == "" || rec.URL != url {
				t.Fatalf("record is %+v", rec)
			}
		}
	})
}

// TestSlowBesideFast has one receiver that never answers: the other one gets its
// messages as if it were alone.
func TestSlowBesideFast(t *testing.T) {
	db := open(t)
	hang := make(chan struct{})
	slow := &receiver{respond: func(*message) int { <-hang; return 200 }}
	fast := &receiver{}
	slowURL, fastURL := slow.listen(t), fast.listen(t)
	t.Cleanup(func() { close(hang) }) // before the servers close
	s, _ := start(t, db, Config{})
	subscribe(t, s, testApp, slowURL, "a")
	subscribe(t, s, testApp, fastURL, "b")
	const n = 100
	began := time.Now()
	for i := range n {
		add(t, db, role("a", i), role("b", i))
	}
	testkit.Eventually(t, "the fast one's messages", func() bool { return fast.count() == n })
	if took := time.Since(began); took > 4*time.Second { // the slow one's timeout is 5 s
		t.Errorf("the fast receiver waited %v", took)
	}
	inOrder(t, fast.messages(), map[string]int{"b": n})
}

// TestOutage lets a receiver be down for an hour, in fake time, while thousands
// of events happen in hundreds of channels.
func TestOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t)
		r := &receiver{}
		network := newPipes(t, r)
		s, _ := start(t, db, Config{Dial: network.dial})
		subscribe(t, s, testApp, "http://receiver.example/cb")
		want := map[string]int{}
		send := func(rounds int) {
			for range rounds {
				var batch []event.Event
				for c := range 100 {
					name := fmt.Sprintf("room%d", c)
					batch = append(batch, role(name, want[name]))
					want[name]++
				}
				add(t, db, batch...)
				time.Sleep(2 * time.Minute)
			}
		}
		send(1)
		if n := r.count(); n != 100 {
			t.Fatalf("before the outage: got %d messages, want 100", n)
		}
		network.set(true)
		send(30)
		if n := r.count(); n != 100 {
			t.Fatalf("in the outage: got %d messages", n)
		}
		asked := network.set(false)
		back := time.Now()
		for r.count() < 3100 && time.Since(back) < time.Hour {
			time.Sleep(time.Second)
		}
		t.Logf("%d attempts in the outage; all delivered %v after its end", asked, time.Since(back))
		if took := time.Since(back); took > 2*time.Minute {
			t.Errorf("the last message came %v after the receiver was back", took)
		}
		if asked > 2000 {
			t.Errorf("the receiver was asked %d times while it was down", asked)
		}
		if n := inOrder(t, r.messages(), want); n != 0 {
			t.Errorf("%d messages came twice", n)
		}
	})
}

// TestThreeDays: a message is tried for 3 days, then set aside with those behind
// it, and can be sent again.
func TestThreeDays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t)
		r := &receiver{}
		network := newPipes(t, r)
		network.set(true)
		s, _ := start(t, db, Config{Dial: network.dial, MaxRetry: 10 * time.Minute})
		sub := subscribe(t, s, testApp, "http://receiver.example/cb")
		add(t, db, role("room", 0), role("room", 1))
		time.Sleep(71 * time.Hour)
		failed := store.DeliveryQuery{App: testApp, Failed: true}
		if all, err := s.Deliveries(t.Context(), failed, 0, 100); err != nil || len(all) != 0 {
			t.Fatalf("after 71 h: %d failed, %v", len(all), err)
		}
		add(t, db, role("room", 2))
		time.Sleep(90 * time.Minute)
		all, err := s.Deliveries(t.Context(), failed, 0, 100)
		if err != nil || len(all) != 2 || all[0].Event.User.ID != "u0" || all[1].Event.User.ID != "u1" || all[0].FailedAt.IsZero() || all[0].Attempts < 100 {
			t.Fatalf("after 72.5 h: failed are %+v, %v", all, err)
		}
		waiting, err := s.Deliveries(t.Context(), store.DeliveryQuery{App: testApp, Sub: sub.ID}, 0, 100)
		if err != nil || len(waiting) != 1 || waiting[0].Event.User.ID != "u2" || waiting[0].NextAt.IsZero() {
			t.Fatalf("waiting are %+v, %v", waiting, err)
		}
		network.set(false)
		if err := s.Resend(t.Context(), testApp, all[0].MsgID); err != nil {
			t.Fatal(err)
		}
		if err := s.Resend(t.Context(), testApp, all[0].MsgID); !errors.Is(err, media.ErrExists) {
			t.Errorf("send again what waits: %v", err)
		}
		time.Sleep(15 * time.Minute)
		got := r.messages()
		if len(got) != 2 || got[0].user() != "u2" || got[1].user() != "u0" || got[1].MsgId != all[0].MsgID {
			t.Fatalf("after the return: got %d messages", len(got))
		}
		// a delivered message is in the records, and can be sent again too
		if err := s.Resend(t.Context(), testApp, got[0].MsgId); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		time.Sleep(time.Second)
		if again := r.messages(); len(again) != 3 || string(again[2].body) != string(got[0].body) {
			t.Fatalf("sent again: got %d messages, the last is %s", len(again), again[len(again)-1].body)
		}
		if err := s.Resend(t.Context(), testApp, "nothing"); !errors.Is(err, media.ErrNotFound) {
			t.Errorf("send again what is not there: %v", err)
		}
	})
}

// TestPoison: a message that is refused while others get through is set aside
// after three refusals over ten minutes; when nothing else gets through it is not.
func TestPoison(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t)
		r := &receiver{respond: func(m *message) int {
			if m.user() == "u666" {
				return http.StatusBadRequest
			}
			return http.StatusNoContent
		}}
		network := newPipes(t, r)
		s, _ := start(t, db, Config{Dial: network.dial})
		subscribe(t, s, testApp, "http://receiver.example/cb")
		add(t, db, role("bad", 666), role("bad", 1))
		time.Sleep(time.Hour)
		if n := r.count(); n != 0 {
			t.Fatalf("got %d messages past one that is refused, though nothing says that the receiver works", n)
		}
		began := len(r.attempts())
		for i := range 30 {
			add(t, db, role("good", i))
			time.Sleep(20 * time.Second)
			if n := r.count(); n < i+1 {
				t.Fatalf("other channel: got %d of %d messages", n, i+1)
			}
		}
		got := r.messages()
		if len(got) != 31 {
			t.Fatalf("got %d messages, want 30 of one channel and 1 of the other", len(got))
		}
		if n := len(r.attempts()) - began; n > 30+1+15 {
			t.Errorf("%d attempts: the refused message was tried all the time", n)
		}
		st, err := s.Stats(t.Context())
		if err != nil || st.Failed != 1 || st.SetAside != 1 || st.Waiting != 0 {
			t.Errorf("stats are %+v, %v", st, err)
		}
	})
}

// TestFailingChannel: a head that gets 500 holds its channel, no other.
func TestFailingChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := open(t)
		r := &receiver{respond: func(m *message) int {
			if m.ChannelId == "bad" {
				return http.StatusInternalServerError
			}
			return http.StatusOK
		}}
		network := newPipes(t, r)
		s, _ := start(t, db, Config{Dial: network.dial})
		subscribe(t, s, testApp, "http://receiver.example/cb")
		add(t, db, role("bad", 0), role("bad", 1))
		time.Sleep(time.Hour)
		for i := range 50 {
			began := time.Now()
			add(t, db, role(fmt.Sprintf("good%d", i), 0))
			for r.count() <= i {
				time.Sleep(100 * time.Millisecond)
			}
			// What an endpoint that fails is given at most between two attempts of its lanes
			// together: MaxRetry over maxLanes, and a fifth.
			if took := time.Since(began); took > 9100*time.Millisecond {
				t.Fatalf("another channel waited %v", took)
			}
		}
		synctest.Wait() // the last answer is noted
		if st, err := s.Stats(t.Context()); err != nil || st.Waiting != 2 || st.Failed != 0 || st.Oldest < time.Hour {
			t.Errorf("stats are %+v, %v", st, err)
		}
	})
}

// TestChange: an update holds at once, for what waits too; a deletion drops it.
func TestChange(t *testing.T) {
	db := open(t)
	bad := &receiver{respond: func(*message) int { return 500 }}
	good := &receiver{}
	s, _ := start(t, db, Config{FirstRetry: time.Hour, MaxRetry: time.Hour})
	sub := subscribe(t, s, testApp, bad.listen(t))
	add(t, db, role("room", 0), role("room", 1))
	testkit.Eventually(t, "a failure", func() bool { st, _ := s.Stats(t.Context()); return st.Failures == 1 })

	sub.URL = good.listen(t)
	if err := s.Update(t.Context(), &sub); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "both messages at the new URL", func() bool { return good.count() == 2 })
	inOrder(t, good.messages(), map[string]int{"room": 2})

	sub.URL = bad.listen(t)
	if err := s.Update(t.Context(), &sub); err != nil {
		t.Fatal(err)
	}
	add(t, db, role("room", 2))
	testkit.Eventually(t, "a failure", func() bool { st, _ := s.Stats(t.Context()); return st.Failures == 2 })
	if err := s.Delete(t.Context(), testApp, store.Room, sub.ID); err != nil {
		t.Fatal(err)
	}
	st, err := s.Stats(t.Context())
	if err != nil || st.Waiting != 0 {
		t.Errorf("after the deletion: %+v, %v", st, err)
	}
	add(t, db, role("room", 3))
	if err := db.Purge(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := len(records(t, s, store.RecordQuery{Sub: sub.ID})); n != 4 {
		t.Errorf("got %d records of the deleted subscription, want 4", n)
	}
}

// TestDisabled: what waits for a disabled application is sent all the same.
func TestDisabled(t *testing.T) {
	db := open(t)
	r := &receiver{}
	s := New(Config{Store: db})
	subscribe(t, s, testApp, r.listen(t))
	add(t, db, role("room", 0))
	update(t, db, func(tx *store.Tx) error {
		app, err := tx.Application(testApp)
		if err != nil {
			return err
		}
		app.Disabled = true
		return tx.UpdateApplication(&app)
	})
	start(t, db, Config{})
	testkit.Eventually(t, "the message", func() bool { return r.count() == 1 })
}

// TestFailures: each way to fail has its word in the records, and none of them
// follows a redirect or believes a certificate.
func TestFailures(t *testing.T) {
	followed := &receiver{}
	elsewhere := followed.listen(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	server := func(h http.HandlerFunc) string {
		srv := httptest.NewServer(h)
		t.Cleanup(srv.Close)
		return srv.URL
	}
	secure := httptest.NewTLSServer(&receiver{})
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	t.Cleanup(secure.Close)
	hang := make(chan struct{})
	errGuard := errors.New("10.0.0.1 is not allowed by callbacks.allow")
	guard := func(ctx context.Context, network, addr string) (net.Conn, error) {
		if host, _, _ := net.SplitHostPort(addr); host == "10.0.0.1" {
			return nil, &net.OpError{Op: "dial", Err: errGuard}
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	tests := []struct {
		name, url string
		code      int
		failure   string
	}{
		{"redirect", server(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, 307) }), 307, "status"},
		{"moved", server(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere, 301) }), 301, "status"},
		{"not found", server(http.NotFound), 404, "status"},
		{"gone", server(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(410) }), 410, "status"},
		{"refused", "http://" + closed.Addr().String(), 0, "refused"},
		{"guard", "http://10.0.0.1/latest/meta-data", 0, "forbidden"},
		{"certificate", secure.URL, 0, "tls"},
		{"no TLS", "https" + elsewhere[4:], 0, "tls"},
		{"dns", "http://braid.invalid/", 0, "dns"},
		{"no answer", server(func(http.ResponseWriter, *http.Request) { <-hang }), 0, "timeout"},
		{"cut", server(func(w http.ResponseWriter, r *http.Request) {
			c, _, _ := http.NewResponseController(w).Hijack()
			c.Close()
		}), 0, "lost"},
		{"endless head", server(func(w http.ResponseWriter, r *http.Request) {
			for i := range 1000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), "0123456789012345678901234567890123456789")
			}
		}), 0, "lost"},
	}
	t.Cleanup(func() { close(hang) }) // before the servers close
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			db := open(t)
			s, _ := start(t, db, Config{Dial: guard, Forbidden: func(err error) bool { return errors.Is(err, errGuard) },
				Timeout: 2 * time.Second, FirstRetry: time.Hour, MaxRetry: time.Hour})
			subscribe(t, s, testApp, test.url)
			add(t, db, role("room", 0))
			testkit.Eventually(t, "a record", func() bool { return len(records(t, s, store.RecordQuery{})) == 1 })
			r := records(t, s, store.RecordQuery{})[0]
			if r.Code != test.code || r.Failure != test.failure || r.Attempt != 1 || r.URL != test.url {
				t.Errorf("got code %d, failure %q, attempt %d; want code %d, failure %q", r.Code, r.Failure, r.Attempt, test.code, test.failure)
			}
		})
	}
	if n := len(followed.attempts()); n != 0 {
		t.Errorf("a redirect was followed %d times", n)
	}
}

// TestHTTPS: a receiver whose certificate is trusted, over HTTP/2.
func TestHTTPS(t *testing.T) {
	db := open(t)
	var proto string
	r := &receiver{}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		proto = req.Proto
		r.ServeHTTP(w, req)
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(srv.Close)
	roots := x509.NewCertPool()
	roots.AddCert(srv.Certificate())
	s, stop := start(t, db, Config{Roots: roots})
	subscribe(t, s, testApp, srv.URL)
	add(t, db, role("room", 0), role("room", 1))
	testkit.Eventually(t, "both messages", func() bool { return r.count() == 2 })
	stop()
	if proto != "HTTP/2.0" {
		t.Errorf("it came over %s", proto)
	}
}

// TestRunEnds: Run ends while a receiver hangs, and what was under way is sent
// again later, with its MsgId.
func TestRunEnds(t *testing.T) {
	db := open(t)
	hang := make(chan struct{})
	r := &receiver{respond: func(*message) int { <-hang; return 200 }}
	url := r.listen(t)
	s, stop := start(t, db, Config{})
	subscribe(t, s, testApp, url)
	add(t, db, role("room", 0))
	testkit.Eventually(t, "a request under way", func() bool { st, _ := s.Stats(t.Context()); return st.InFlight == 1 })
	began := time.Now()
	stop()
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("Run ended %v after it was asked to", took)
	}
	close(hang)
	start(t, db, Config{})
	testkit.Eventually(t, "the message twice", func() bool { return r.count() == 2 })
	if n := inOrder(t, r.messages(), map[string]int{"room": 1}); n != 1 {
		t.Errorf("it came %d more times", n)
	}
}
