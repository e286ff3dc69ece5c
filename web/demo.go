package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"braid/media"
	"braid/signaling"
	"braid/signaling/token"
)

// DemoConfig says on whose behalf the demo acts and where it finds braid.
type DemoConfig struct {
	App                          string
	AppKey                       func(app string) string // as it is now: it may be rotated
	AccessKeyID, AccessKeySecret string
	API                          http.Handler   // the OpenAPI; called in process, with signed requests
	Channels                     media.Channels // who is there, for the page's event stream
	OriginRTMP                   string         // where mixes are pushed: rtmp://host:port
	OriginHTTP                   string         // where they are played: http://host:port; empty: where the page came from
	// SignPlay makes an address, or a path, one that a mix can be played at for a while,
	// where the origin wants that; its answers change seldom. nil: it wants nothing.
	SignPlay func(ctx context.Context, address string) string
	Log      *slog.Logger // nil: silent
}

// Demo is the page's backend. A customer's own server would look like it: it
// knows the AppKey and the access key, hands tokens to its users and starts and
// stops mixes. It asks nobody for a password: whoever reaches /demo/ may join, and
// watch the mixes of its channels.
type Demo struct {
	cfg    DemoConfig
	routes http.Handler

	mu      sync.Mutex
	layouts map[string]string // channel → layout of its running mix; guarded by mu
	changed chan struct{}     // closed and replaced when layouts changes; guarded by mu
}

// NewDemo makes the handler of everything under /demo/, and of the player under
// /vendor/. It is ready at once and needs no closing; event streams end with
// their request's context.
func NewDemo(cfg DemoConfig) *Demo {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.SignPlay == nil {
		cfg.SignPlay = func(_ context.Context, address string) string { return address }
	}
	d := &Demo{cfg: cfg, layouts: map[string]string{}, changed: make(chan struct{})}
	mux := http.NewServeMux()
	mux.Handle("GET /demo", http.RedirectHandler("/demo/", http.StatusMovedPermanently))
	mux.Handle("/demo/", Handler())
	mux.Handle("/vendor/", Handler())
	mux.HandleFunc("POST /demo/join", d.join)
	mux.HandleFunc("GET /demo/events", d.events)
	mux.HandleFunc("GET /demo/mix", d.getMix)
	mux.HandleFunc("POST /demo/mix", d.postMix)
	mux.HandleFunc("DELETE /demo/mix", d.deleteMix)
	// Another site's page must not start mixes with a visitor's browser.
	d.routes = http.NewCrossOriginProtection().Handler(mux)
	return d
}

func (d *Demo) ServeHTTP(w http.ResponseWriter, r *http.Request) { d.routes.ServeHTTP(w, r) }

// tokenLife is how long a page may stay open before it must join again.
const tokenLife = 12 * time.Hour

func (d *Demo) join(w http.ResponseWriter, r *http.Request) {
	var in struct{ Channel, User string }
	if !readJSON(w, r, &in) {
		return
	}
	if !media.IsID(in.Channel, media.MaxID) || !media.IsID(in.User, media.MaxID) {
		signaling.WriteProblem(w, http.StatusBadRequest, "Name and channel are 1 to 64 letters, digits, _ or -.")
		return
	}
	writeJSON(w, map[string]string{
		"app": d.cfg.App, "channel": in.Channel, "user": in.User,
		"token": token.Sign(d.cfg.App, d.cfg.AppKey(d.cfg.App), in.Channel, in.User, time.Now().Add(tokenLife)).String(),
	})
}

// userJSON is one user in the event stream. The numbers name the user's tracks:
// 0 is none, and a new number means that the old track is gone.
type userJSON struct {
	ID          string `json:"id"`
	Audio       int    `json:"audio"`
	Video       int    `json:"video"`
	Screen      int    `json:"screen"`
	ScreenAudio int    `json:"screenAudio"`
}

// eventJSON is one message of the event stream: everything, at each change.
type eventJSON struct {
	Users []userJSON `json:"users"`
	Mix   *mixJSON   `json:"mix"` // null: not running
}

// keepAlive is how often a silent event stream says something, so that proxies
// do not cut it; common idle limits start at 60 s.
const keepAlive = 20 * time.Second

func (d *Demo) events(w http.ResponseWriter, r *http.Request) {
	channel := r.FormValue("channel")
	if !media.IsID(channel, media.MaxID) {
		signaling.WriteProblem(w, http.StatusBadRequest, "channel is 1 to 64 letters, digits, _ or -.")
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	numbers := &numbering{known: map[media.Track]int{}}
	last := ""
	for {
		now, users, changed, opened, mixChanged := d.snapshot(r, channel, numbers)
		if text, err := json.Marshal(now); err != nil {
			panic("web: an event cannot be written as JSON: " + err.Error()) // plain strings and numbers
		} else if string(text) != last {
			last = string(text)
			fmt.Fprintf(w, "data: %s\n\n", text)
		} else {
			io.WriteString(w, ":\n\n")
		}
		numbers.keep(users)
		out.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a reader that is gone is noticed; not every writer can, hence no check
		if out.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		case <-opened:
		case <-changed:
		case <-mixChanged:
		}
	}
}

// snapshot reads the channel's state, and the signals that announce the next
// one: taken first, so that no change falls between.
func (d *Demo) snapshot(r *http.Request, channel string, numbers *numbering) (now eventJSON, users []*media.User, changed, opened, mixChanged <-chan struct{}) {
	opened = d.cfg.Channels.ChannelsChanged()
	mixChanged = d.mixChanged()
	if c, ok := d.cfg.Channels.Channel(d.cfg.App, channel); ok {
		changed = c.Changed()
		users = c.Users()
	}
	now.Users = []userJSON{}
	for _, u := range users {
		now.Users = append(now.Users, userJSON{u.ID, numbers.of(u.Audio), numbers.of(u.Video), numbers.of(u.Screen), numbers.of(u.ScreenAudio)})
	}
	mix, err := d.mixState(r, channel)
	if err != nil {
		d.cfg.Log.Warn("demo: the state of a mix is unknown", "channel", channel, "err", err)
	}
	now.Mix = mix
	return
}

// numbering gives each track of a channel its number, from 1; none comes twice.
type numbering struct {
	last  int
	known map[media.Track]int
}

func (n *numbering) of(t media.Track) int {
	if t == nil {
		return 0
	}
	if n.known[t] == 0 {
		n.last++
		n.known[t] = n.last
	}
	return n.known[t]
}

// keep forgets the tracks that are gone.
func (n *numbering) keep(users []*media.User) {
	alive := map[media.Track]bool{}
	for _, u := range users {
		alive[u.Audio], alive[u.Video], alive[u.Screen], alive[u.ScreenAudio] = true, true, true, true
	}
	maps.DeleteFunc(n.known, func(t media.Track, _ int) bool { return !alive[t] })
}

// readJSON reads a small request body; when it cannot, it answers and returns false.
func readJSON(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	err := d.Decode(into)
	if err == nil {
		return true
	}
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		signaling.WriteProblem(w, http.StatusRequestEntityTooLarge, "The request is larger than 64 KiB.")
	} else {
		signaling.WriteProblem(w, http.StatusBadRequest, "The request is not the JSON that was expected: "+err.Error())
	}
	return false
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(v) // an error here is a reader that is gone
}
