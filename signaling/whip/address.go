package whip

import (
	"errors"
	"fmt"
	"net/http"

	"braid/media"
	"braid/media/sfu"
	"braid/signaling"
	"braid/store"
)

// publishAddress publishes as the user that an address was made for. OBS and
// others send an empty Authorization along, which nobody looks at.
func (b *border) publishAddress(w http.ResponseWriter, r *http.Request) {
	a, err := b.address(r, r.PathValue("address"))
	if err != nil {
		b.fail(w, err)
		return
	}
	src, ok := source(w, r)
	if !ok {
		return
	}
	if tooMany(w, b.posts, a.ID, "the address opens sessions too often: 20 a second are allowed, 100 at once") {
		return
	}
	offer, ok := body(w, r, offerType, sfu.MaxOffer)
	if !ok {
		return
	}
	sess, answer, err := b.SFU.Publish(r.Context(), sfu.PublishRequest{
		App: a.App, Channel: a.Channel, User: a.User, Source: src, Offer: offer,
	})
	b.created(w, r, "/whip/address/"+a.ID+"/session/", sess, answer, err)
}

// address finds a WHIP address; with an error that wraps media.ErrNotFound it
// may still say whose it was.
func (b *border) address(r *http.Request, id string) (store.Address, error) {
	none := fmt.Errorf("there is no such address, or it has expired: %w", media.ErrNotFound)
	if b.Addresses == nil {
		return store.Address{}, none
	}
	a, err := b.Addresses(r.Context(), id)
	switch {
	case errors.Is(err, media.ErrNotFound):
		return a, none
	case err == nil && a.Kind != store.WHIPAddress:
		return store.Address{}, none
	}
	return a, err
}

// addressOwner lets whoever knows the address change the sessions it opened;
// that it has expired meanwhile only stops new ones.
func (b *border) addressOwner(w http.ResponseWriter, r *http.Request, id string, sess *sfu.Session) bool {
	a, err := b.address(r, id)
	if err != nil && (a.ID == "" || !errors.Is(err, media.ErrNotFound)) {
		b.fail(w, err)
		return false
	}
	if a.App != sess.App() || a.Channel != sess.Channel() || a.User != sess.User() || !sess.Publisher() {
		signaling.WriteProblem(w, http.StatusForbidden, "the session was not opened by this address")
		return false
	}
	return true
}
