package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// receiver is a business server: it takes callbacks, and fails as often as it
// is told to.
type receiver struct {
	url string

	mu     sync.Mutex
	fails  float64    // share of the messages that it refuses
	taken  []delivery // those it answered with 200, in order; guarded by mu
	broken int
}

type delivery struct{ id, channel, what string }

func newReceiver(t testing.TB, fails float64) *receiver {
	r := &receiver{fails: fails}
	h := httptest.NewServer(r)
	t.Cleanup(h.Close)
	r.url = h.URL + "/callbacks"
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var m struct {
		MsgId, ChannelId, TaskId string
		Contents                 []struct {
			UserEvent    *struct{ UserId, EventTag string }
			ChannelEvent *struct{ EventTag string }
		}
		Payload *struct{ EventCode, ErrorCode int }
	}
	body, err := io.ReadAll(req.Body)
	if err == nil {
		err = json.Unmarshal(body, &m)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil || rand.Float64() < r.fails {
		r.broken++
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	d := delivery{id: m.MsgId, channel: m.ChannelId}
	for _, c := range m.Contents {
		if c.UserEvent != nil {
			d.what += c.UserEvent.EventTag + " " + c.UserEvent.UserId
		}
		if c.ChannelEvent != nil {
			d.what += c.ChannelEvent.EventTag
		}
	}
	if m.Payload != nil {
		d.channel, d.what = m.TaskId, fmt.Sprint("relay ", m.Payload.EventCode)
	}
	r.taken = append(r.taken, d)
}

// got is what has been taken so far, each message once.
func (r *receiver) got() (once []delivery, repeated int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := map[string]bool{}
	for _, d := range r.taken {
		if seen[d.id] {
			repeated++
			continue
		}
		seen[d.id] = true
		once = append(once, d)
	}
	return once, repeated
}

// in lists what happened in one channel.
func in(channel string, all []delivery) (what []string) {
	for _, d := range all {
		if d.channel == channel {
			what = append(what, d.what)
		}
	}
	return what
}

// visit joins a channel as a publisher for a moment. The server may die at any
// point of it.
func visit(ctx context.Context, p *process, channel, user string) {
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return
	}
	defer pc.Close()
	track, err := webrtc.NewTrackLocalStaticSample(opusCodec, "audio", "visit")
	if err != nil {
		return
	}
	if _, err := pc.AddTrack(track); err != nil {
		return
	}
	peer := &peer{t: p.t, pc: pc}
	if peer.connect(p.whip(channel, user), p.token(channel, user)) != nil {
		return
	}
	for range 20 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(10 * time.Millisecond):
		}
		track.WriteSample(media.Sample{Data: []byte{0xf8, 0xff, 0xfe}, Duration: 20 * time.Millisecond}) // Opus: silence
	}
	if rand.N(2) == 0 { // half leave in order, half just vanish
		peer.close()
	}
}

// TestCallbacksSurviveKills kills the server again and again while users come
// and go, with a receiver that fails half the time: every event that was
// committed arrives, in the order of its channel; what arrives twice has the
// same MsgId.
func TestCallbacksSurviveKills(t *testing.T) {
	t.Parallel()
	const kills = 30
	r := newReceiver(t, 0.5)
	p := newProcess(t, "callbacks: {first_retry: 20ms, max_retry: 200ms}\n")
	p.start()
	p.call("CreateEventSub", map[string]any{"CallbackUrl": r.url, "Events.1": "ChannelEvent", "Events.2": "UserEvent"})
	channels := []string{"red", "blue", "green"}
	for range kills {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, channel := range channels {
			wg.Go(func() {
				for n := 0; ctx.Err() == nil; n++ {
					visit(ctx, p, channel, fmt.Sprint("u", n%3))
				}
			})
		}
		wait(200*time.Millisecond + rand.N(700*time.Millisecond))
		p.end(syscall.SIGKILL)
		cancel()
		wg.Wait()
		p.start()
	}
	var want []logged
	eventually(t, 60*time.Second, "everything arrives", func() (bool, string) {
		want = p.events()
		once, _ := r.got()
		return len(once) >= len(want) && slices.ContainsFunc(want, func(e logged) bool { return e.Type == "UserJoin" }),
			fmt.Sprintf("%d of %d events", len(once), len(want))
	})
	once, repeated := r.got()
	t.Logf("%d events, %d refused by the receiver, %d delivered twice, over %d kills", len(want), r.broken, repeated, kills)
	if len(once) != len(want) {
		t.Errorf("%d messages arrived, %d events are in the log", len(once), len(want))
	}
	for _, channel := range channels {
		var expect []string
		for _, e := range want {
			if e.Channel == channel {
				expect = append(expect, e.tag())
			}
		}
		if got := in(channel, once); !slices.Equal(got, expect) {
			t.Errorf("channel %s: got\n%s\nwant\n%s", channel, strings.Join(got, "\n"), strings.Join(expect, "\n"))
		}
		wellFormed(t, channel, expect)
	}
}

// wellFormed tells whether a channel's story makes sense: nobody joins twice or
// leaves before having come, and the channel is open meanwhile.
func wellFormed(t *testing.T, channel string, story []string) {
	t.Helper()
	open, present := false, map[string]bool{}
	for i, what := range story {
		tag, user, _ := strings.Cut(what, " ")
		ok := true
		switch tag {
		case "Open":
			ok, open = !open, true
		case "Close":
			ok, open = open && len(present) == 0, false
		case "Join":
			ok, present[user] = open && !present[user], true
		case "Leave":
			ok = present[user]
			delete(present, user)
		default:
			ok = present[user]
		}
		if !ok {
			t.Errorf("channel %s: event %d, %q, does not follow from\n%s", channel, i, what, strings.Join(story[:i], "\n"))
			return
		}
	}
}

// logged is an event as GET /v1/events tells it.
type logged struct {
	Channel, Type string
	User          *struct{ ID string }
	Relay         *struct {
		Task, URL, Message string
		Code               int
	}
}

// tag is the event in the words of a callback.
func (e logged) tag() string {
	switch {
	case e.Type == "UserRole":
		return "Roleupdate " + e.User.ID
	case e.User != nil:
		return strings.TrimPrefix(e.Type, "User") + " " + e.User.ID
	}
	return strings.TrimPrefix(e.Type, "Channel")
}
