package whip

import (
	"errors"
	"io"
	"net/http"

	"braid/event"
	"braid/media"
	"braid/media/sfu"
	"braid/signaling"
)

// onSession finds the session that a path names.
func (b *border) onSession(handle func(http.ResponseWriter, *http.Request, *sfu.Session)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		id := r.PathValue("id")
		sess, ok := b.SFU.Session(id)
		if words := away[b.SFU.SentAway(id)]; words != "" {
			signaling.WriteProblem(w, http.StatusGone, words)
			return
		}
		if !ok {
			signaling.WriteProblem(w, http.StatusNotFound, "there is no such session, or it has ended")
			return
		}
		handle(w, r, sess)
	}
}

// away is what a client is told whose session somebody else has ended. It asks for no
// token, as the id alone finds nothing out about anybody else. A client that knows
// does not come back at once: two that have one user would take turns for ever.
var away = map[event.Reason]string{
	event.Replaced:  "a newer session of the same user has replaced this one",
	event.Kicked:    "the user was sent out of the channel",
	event.Dismissed: "the channel was closed for everyone",
}

// owner lets only the user who opened a session change it.
func (b *border) owner(w http.ResponseWriter, r *http.Request, sess *sfu.Session) bool {
	if id := r.PathValue("address"); id != "" {
		return b.addressOwner(w, r, id, sess)
	}
	claims, ok := b.authorize(w, r, sess.App(), sess.Channel(), true)
	if !ok {
		return false
	}
	if claims.User != sess.User() {
		signaling.WriteProblem(w, http.StatusForbidden, "the session is another user's")
		return false
	}
	return true
}

// end ends a session, or agrees that it has ended: some clients, OBS among them,
// close their connection first. That asks for no token, for it does nothing.
func (b *border) end(w http.ResponseWriter, r *http.Request) {
	if b.SFU.HungUp(r.PathValue("id")) {
		w.WriteHeader(http.StatusOK)
		return
	}
	b.onSession(b.delete)(w, r)
}

// delete ends a session. OBS takes nothing but 200 for success.
func (b *border) delete(w http.ResponseWriter, r *http.Request, sess *sfu.Session) {
	if !b.owner(w, r, sess) {
		return
	}
	if err := sess.Close(); err != nil {
		b.fail(w, err)
		return
	}
	w.WriteHeader(http.StatusOK)
}

// patch takes candidates (204) or restarts ICE (200 and a new ETag). RFC 9725
// wants If-Match; two of the common clients send none with candidates, so there
// none is taken for "whatever is current". A stale one is refused (412), and so
// is a restart without one (428).
func (b *border) patch(w http.ResponseWriter, r *http.Request, sess *sfu.Session) {
	if !b.owner(w, r, sess) {
		return
	}
	if tooMany(w, b.patches, sess.ID(), "the session is patched too often: 20 times a second are allowed, 60 at once") {
		return
	}
	match := r.Header.Get("If-Match")
	if match != "" && match != "*" && match != quote(sess.ETag()) {
		signaling.WriteProblem(w, http.StatusPreconditionFailed, "If-Match names an older ICE session")
		return
	}
	text, ok := body(w, r, fragmentType, maxFragment)
	if !ok {
		return
	}
	answer, err := sess.Patch(r.Context(), text, match != "")
	switch {
	case errors.Is(err, media.ErrClosed):
		signaling.WriteProblem(w, http.StatusNotFound, "the session has ended")
	case errors.Is(err, sfu.ErrRestart):
		signaling.WriteProblem(w, http.StatusPreconditionRequired, `these are not the session's ICE credentials: to restart ICE send If-Match: * or the ETag`)
	case err != nil:
		b.fail(w, err)
	case answer == "":
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", fragmentType)
		w.Header().Set("ETag", quote(sess.ETag()))
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, answer)
	}
}
