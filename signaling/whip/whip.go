// Package whip is the HTTP border for WHIP (RFC 9725) and WHEP
// (draft-ietf-wish-whep): standard clients publish with one POST and watch with
// another. It checks join tokens and speaks HTTP; media is sfu's.
//
//	POST, OPTIONS, GET, HEAD  /whip/{app}/{channel}/{user}?source=camera|shareScreen
//	POST, OPTIONS, GET, HEAD  /whep/{app}/{channel}/{user}?source=camera|shareScreen
//	DELETE, PATCH, OPTIONS, GET, HEAD  /whip/session/{id}, /whep/session/{id}
//	POST, OPTIONS, GET, HEAD  /whip/address/{address}
//	DELETE, PATCH, OPTIONS, GET, HEAD  /whip/address/{address}/session/{id}
//
// In WHIP the path names the publisher, and the token must be that user's and
// grant the source. In WHEP it names the user to watch; the token says who
// watches. An address (CreateRTCWhipStreamAddress) is its own proof.
//
// It starts no goroutine.
package whip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"braid/media"
	"braid/media/sfu"
	"braid/signaling"
	"braid/signaling/token"
	"braid/store"
)

// Apps finds what an application's tokens are checked with.
type Apps interface {
	Application(id string) (a token.App, ok bool)
}

// Config is what the border needs.
type Config struct {
	SFU  *sfu.Server
	Apps Apps
	// Addresses finds a publish address by its id. One that nobody may use any
	// more to begin comes with an error that wraps media.ErrNotFound; nil: there
	// are no addresses.
	Addresses func(ctx context.Context, id string) (store.Address, error)
	// ICEServers says what a user is told in Link fields; nil: nothing.
	ICEServers func(user string) []signaling.ICEServer
	Log        *slog.Logger // nil: nowhere
}

// New makes the handler. It serves the paths above and answers 404 to others.
func New(cfg Config) http.Handler {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.ICEServers == nil {
		cfg.ICEServers = func(string) []signaling.ICEServer { return nil }
	}
	b := &border{cfg, signaling.NewBuckets(postEvery, postBurst), signaling.NewBuckets(patchEvery, patchBurst)}
	mux := http.NewServeMux()
	for _, way := range [][2]string{
		{"/whip/{app}/{channel}/{user}", "/whip/session/{id}"},
		{"/whep/{app}/{channel}/{user}", "/whep/session/{id}"},
		{"/whip/address/{address}", "/whip/address/{address}/session/{id}"},
	} {
		endpoint, session := way[0], way[1]
		mux.HandleFunc("OPTIONS "+endpoint, b.options("GET, HEAD, OPTIONS, POST"))
		mux.HandleFunc("GET "+endpoint, empty)
		mux.HandleFunc("OPTIONS "+session, b.options("DELETE, GET, HEAD, OPTIONS, PATCH"))
		mux.HandleFunc("GET "+session, b.onSession(func(w http.ResponseWriter, _ *http.Request, _ *sfu.Session) {
			w.WriteHeader(http.StatusNoContent)
		}))
		mux.HandleFunc("DELETE "+session, b.end)
		mux.HandleFunc("PATCH "+session, b.onSession(b.patch))
	}
	mux.HandleFunc("POST /whip/{app}/{channel}/{user}", b.publish)
	mux.HandleFunc("POST /whip/address/{address}", b.publishAddress)
	mux.HandleFunc("POST /whep/{app}/{channel}/{user}", b.watch)
	return b.cors(mux)
}

type border struct {
	Config
	posts, patches *signaling.Buckets
}

// How often a user may open sessions, and a session may be patched, in the long run
// and at once (RFC 9725 sections 4.2 and 4.3.1): more than any client does, a page
// that watches fifty users and loses its network among them.
const (
	postEvery  = 50 * time.Millisecond
	postBurst  = 100
	patchEvery = 50 * time.Millisecond
	patchBurst = 60
)

// tooMany answers who does something too often.
func tooMany(w http.ResponseWriter, buckets *signaling.Buckets, name, what string) bool {
	wait := buckets.Take(name, time.Now())
	if wait == 0 {
		return false
	}
	w.Header().Set("Retry-After", strconv.Itoa(int((wait+time.Second-1)/time.Second)))
	signaling.WriteProblem(w, http.StatusTooManyRequests, what)
	return true
}

// cors lets pages of any origin use the border: what protects a channel is the
// token, and no cookie is looked at.
func (b *border) cors(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Expose-Headers", "Location, ETag, Link, Accept-Patch, Retry-After, WWW-Authenticate, "+allowMethods)
		h.Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// allowMethods names every method of endpoints and sessions alike: Eyevinn's WHIP
// client trickles candidates only when PATCH is in the endpoint's. It says in
// ETag what others say in If-Match.
const allowMethods = "Access-Control-Allow-Methods"

// options answers preflights, which carry no token, and tells what is accepted
// (RFC 9725 section 4.2); who is no preflight is told the ICE servers too, those
// with credentials only with a token (section 4.6).
func (b *border) options(methods string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Allow", methods)
		h.Set(allowMethods, "DELETE, GET, HEAD, OPTIONS, PATCH, POST")
		h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, If-Match, ETag")
		h.Set("Access-Control-Max-Age", "86400")
		if strings.Contains(methods, "POST") {
			h.Set("Accept-Post", offerType)
			if r.Header.Get("Access-Control-Request-Method") == "" {
				user, known := b.asker(r)
				signaling.LinkICE(h, b.ICEServers(user), known)
			}
		} else {
			h.Set("Accept-Patch", fragmentType)
		}
		w.WriteHeader(http.StatusOK)
	}
}

// asker is the user whose token or address an OPTIONS request shows.
func (b *border) asker(r *http.Request) (user string, known bool) {
	if id := r.PathValue("address"); id != "" {
		a, err := b.address(r, id)
		return a.User, err == nil
	}
	_, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	claims, err := token.Verify(strings.TrimSpace(text), b.Apps.Application, time.Now())
	return claims.User, err == nil && claims.App == r.PathValue("app") && claims.Channel == r.PathValue("channel")
}

func empty(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

const (
	offerType    = "application/sdp"
	fragmentType = "application/trickle-ice-sdpfrag"
	maxFragment  = 16 << 10
	retryAfter   = "2" // seconds until a viewer may look again for its publisher
)

func (b *border) publish(w http.ResponseWriter, r *http.Request) {
	in, ok := b.request(w, r)
	if !ok {
		return
	}
	if in.claims.User != in.user {
		signaling.WriteProblem(w, http.StatusForbidden, fmt.Sprintf("the token is user %s's; it cannot publish as %s", in.claims.User, in.user))
		return
	}
	if !in.claims.MayPublish(in.source) {
		signaling.WriteProblem(w, http.StatusForbidden, fmt.Sprintf("the token does not grant to publish %s", in.source))
		return
	}
	sess, answer, err := b.SFU.Publish(r.Context(), sfu.PublishRequest{
		App: in.app, Channel: in.channel, User: in.user, Source: in.source, Offer: in.offer,
	})
	b.created(w, r, "/whip/session/", sess, answer, err)
}

func (b *border) watch(w http.ResponseWriter, r *http.Request) {
	in, ok := b.request(w, r)
	if !ok {
		return
	}
	if !in.claims.Subscribe {
		signaling.WriteProblem(w, http.StatusForbidden, "the token does not grant to subscribe")
		return
	}
	sess, answer, err := b.SFU.Subscribe(r.Context(), sfu.SubscribeRequest{
		App: in.app, Channel: in.channel, Viewer: in.claims.User, User: in.user, Source: in.source, Offer: in.offer,
	})
	if errors.Is(err, media.ErrNotFound) { // nobody publishes now: draft-ietf-wish-whep section 4.2
		w.Header().Set("Retry-After", retryAfter)
		signaling.WriteProblem(w, http.StatusConflict, err.Error())
		return
	}
	b.created(w, r, "/whep/session/", sess, answer, err)
}

// created answers a POST with a session under a path.
func (b *border) created(w http.ResponseWriter, r *http.Request, under string, sess *sfu.Session, answer string, err error) {
	if err != nil {
		b.fail(w, err)
		return
	}
	sess.SetAgent(r.UserAgent())
	h := w.Header()
	signaling.LinkICE(h, b.ICEServers(sess.User()), true)
	h.Set("Content-Type", offerType)
	h.Set("Location", origin(r)+under+sess.ID())
	h.Set("ETag", quote(sess.ETag()))
	h.Set("Accept-Patch", fragmentType)
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, answer)
}

// origin is how the client reached us. OBS needs an absolute Location without
// a query.
func origin(r *http.Request) string {
	scheme := "http"
	if r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https" {
		scheme = "https"
	}
	return scheme + "://" + r.Host
}

func quote(etag string) string { return `"` + etag + `"` }

// fail answers with what an error of the SFU means in HTTP.
func (b *border) fail(w http.ResponseWriter, err error) {
	switch status := signaling.Status(err); {
	case errors.Is(err, sfu.ErrUnsupported):
		signaling.WriteProblem(w, http.StatusUnprocessableEntity, err.Error())
	case status == http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", retryAfter)
		signaling.WriteError(w, err)
	case status == http.StatusInternalServerError:
		b.Log.Error("whip: answer an offer", "err", err)
		signaling.WriteError(w, err)
	default:
		signaling.WriteError(w, err)
	}
}

// request is a checked POST.
type request struct {
	app, channel, user string
	source             media.Source
	claims             token.Claims
	offer              string
}

// request checks path, query, token, type and size, in this order, and reads
// the offer only from those who may send one.
func (b *border) request(w http.ResponseWriter, r *http.Request) (in request, ok bool) {
	in = request{app: r.PathValue("app"), channel: r.PathValue("channel"), user: r.PathValue("user")}
	for _, id := range []struct{ name, value string }{{"app", in.app}, {"channel", in.channel}, {"user", in.user}} {
		if !media.IsID(id.value, media.MaxID) {
			signaling.WriteProblem(w, http.StatusBadRequest, fmt.Sprintf("%s in the path: 1 to 64 of A-Z a-z 0-9 _ - are allowed", id.name))
			return in, false
		}
	}
	if in.source, ok = source(w, r); !ok {
		return in, false
	}
	if in.claims, ok = b.authorize(w, r, in.app, in.channel, false); !ok {
		return in, false
	}
	if tooMany(w, b.posts, in.app+" "+in.channel+" "+in.claims.User, "the user opens sessions too often: 20 a second are allowed, 100 at once") {
		return in, false
	}
	if in.offer, ok = body(w, r, offerType, sfu.MaxOffer); !ok {
		return in, false
	}
	return in, true
}

// source is what a POST is about.
func source(w http.ResponseWriter, r *http.Request) (s media.Source, ok bool) {
	switch s = media.Source(r.URL.Query().Get("source")); s {
	case "":
		return media.Camera, true
	case media.Camera, media.ShareScreen:
		return s, true
	}
	signaling.WriteProblem(w, http.StatusBadRequest, "source: camera or shareScreen")
	return "", false
}

// body reads a request's body of the one type that is accepted.
func body(w http.ResponseWriter, r *http.Request, want string, most int64) (string, bool) {
	if got, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); got != want {
		signaling.WriteProblem(w, http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Type: %s is needed", want))
		return "", false
	}
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		signaling.WriteProblem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body may have %d bytes", most))
		return "", false
	case err != nil:
		signaling.WriteProblem(w, http.StatusBadRequest, "the body ended early")
		return "", false
	}
	return string(text), true
}

// authorize checks the Bearer token against application and channel. For a
// session that is open already (late), a token that has expired since is fine.
func (b *border) authorize(w http.ResponseWriter, r *http.Request, app, channel string, late bool) (token.Claims, bool) {
	scheme, text, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		unauthorized(w, "", "Authorization: Bearer with a join token is needed")
		return token.Claims{}, false
	}
	claims, err := token.Verify(strings.TrimSpace(text), b.Apps.Application, time.Now())
	if errors.Is(err, token.ErrOff) {
		signaling.WriteProblem(w, http.StatusForbidden, err.Error())
		return token.Claims{}, false
	}
	if err != nil && !(late && errors.Is(err, token.ErrExpired)) {
		unauthorized(w, `, error="invalid_token"`, err.Error())
		return token.Claims{}, false
	}
	if claims.App != app || claims.Channel != channel {
		signaling.WriteProblem(w, http.StatusForbidden, fmt.Sprintf("the token is for channel %s of application %s", claims.Channel, claims.App))
		return token.Claims{}, false
	}
	return claims, true
}

func unauthorized(w http.ResponseWriter, params, detail string) {
	w.Header().Set("WWW-Authenticate", `Bearer realm="braid"`+params)
	signaling.WriteProblem(w, http.StatusUnauthorized, detail)
}
