package callback

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"braid/event"
	"braid/media"
	"braid/store"
)

// Limits of subscriptions (artc-api.md section 5.1; the length of a Room URL and
// those of store.Streams are braid's own).
const (
	maxRoom      = 20   // an application
	maxStreams   = 20   // an application
	maxUsers     = 30   // a subscription
	maxChannels  = 20   // an MPU subscription
	maxEvents    = 5    // items of Events
	maxRoomURL   = 2048 // also of store.Streams
	maxMPUURL    = 2083
	channelEvent = "ChannelEvent"
	userEvent    = "UserEvent"
)

var (
	// The documented characters, with : that every URL has, and & (braid's own).
	mpuURLForm = regexp.MustCompile(`^[A-Za-z0-9\-_?%=#./+:&]*$`)
)

// Create checks a subscription, gives it an ID and stores it; App, Kind, URL,
// Channels, Events and Users are the caller's. A channel "*" or "" means all.
// Events of the application from then on are sent to it.
//
// media.ErrInvalid names the field and its limit. media.ErrNotFound: there is no
// such application. media.ErrLimit: it has 20 of this kind. media.ErrExists:
// it has one for all channels, or an MPU subscription, already.
func (s *Service) Create(ctx context.Context, sub *store.Subscription) error {
	next := *sub
	if err := check(&next); err != nil {
		return err
	}
	next.ID = newID(next.Kind)
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if err := room(tx, &next); err != nil {
			return err
		}
		return tx.CreateSubscription(&next)
	})
	if err == nil {
		*sub = next
	}
	return err
}

// Update checks and replaces URL, Channels, Events and Users of the
// subscription with this App, Kind and ID. It holds for events from then on;
// what waits already goes to the new URL, at once. Errors as of Create.
func (s *Service) Update(ctx context.Context, sub *store.Subscription) error {
	next := *sub
	if err := check(&next); err != nil {
		return err
	}
	err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		had, err := find(tx, next.App, next.Kind, next.ID)
		if err != nil {
			return err
		}
		next.Created = had.Created
		if err := room(tx, &next); err != nil {
			return err
		}
		return tx.UpdateSubscription(&next)
	})
	if err != nil {
		return err
	}
	*sub = next
	s.poke(next.ID)
	return nil
}

// Delete deletes a subscription; what waits for it is dropped. One request that
// is under way may still arrive.
func (s *Service) Delete(ctx context.Context, app string, kind store.Kind, id string) error {
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		if _, err := find(tx, app, kind, id); err != nil {
			return err
		}
		return tx.DeleteSubscription(app, id)
	})
}

// Get finds a subscription; media.ErrNotFound.
func (s *Service) Get(ctx context.Context, app string, kind store.Kind, id string) (sub store.Subscription, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		sub, err = find(tx, app, kind, id)
		return err
	})
	return sub, err
}

// List lists an application's subscriptions, the oldest first.
func (s *Service) List(ctx context.Context, app string, kind store.Kind) (subs []store.Subscription, err error) {
	err = s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		subs, err = tx.Subscriptions(app, kind)
		return err
	})
	return subs, err
}

// MPU finds the one MPU subscription of an application; media.ErrNotFound.
func (s *Service) MPU(ctx context.Context, app string) (store.Subscription, error) {
	subs, err := s.List(ctx, app, store.MPU)
	if err == nil && len(subs) == 0 {
		err = fmt.Errorf("subscription of application %q to stream relay events: %w", app, media.ErrNotFound)
	}
	if err != nil {
		return store.Subscription{}, err
	}
	return subs[0], nil
}

func find(tx *store.Tx, app string, kind store.Kind, id string) (store.Subscription, error) {
	sub, err := tx.Subscription(app, id)
	if err == nil && sub.Kind != kind {
		err = fmt.Errorf("subscription %s: %w", id, media.ErrNotFound)
	}
	return sub, err
}

// room tells whether an application may have this subscription beside its others.
func room(tx *store.Tx, sub *store.Subscription) error {
	if sub.Kind == store.Recordings {
		return nil // the number of recordings is bounded elsewhere
	}
	all, err := tx.Subscriptions(sub.App, sub.Kind)
	if err != nil {
		return err
	}
	others := slices.DeleteFunc(all, func(o store.Subscription) bool { return o.ID == sub.ID })
	switch {
	case sub.Kind == store.MPU && len(others) > 0:
		return fmt.Errorf("application %q has a subscription to stream relay events: %w", sub.App, media.ErrExists)
	case sub.Kind == store.MPU:
		return nil
	case sub.Kind == store.Streams && len(others) >= maxStreams:
		return fmt.Errorf("application %q has %d subscriptions to stream events, which is the most: %w", sub.App, maxStreams, media.ErrLimit)
	case sub.Kind == store.Streams:
		return nil
	case len(others) >= maxRoom:
		return fmt.Errorf("application %q has %d subscriptions, which is the most: %w", sub.App, maxRoom, media.ErrLimit)
	case len(sub.Channels) == 0 && slices.ContainsFunc(others, func(o store.Subscription) bool { return len(o.Channels) == 0 }):
		return fmt.Errorf("ChannelId: application %q has a subscription for all channels, and can have one: %w", sub.App, media.ErrExists)
	}
	return nil
}

// check checks the fields of a subscription and brings them into their one form.
func check(sub *store.Subscription) error {
	switch sub.Kind {
	case store.Room:
		return checkRoom(sub)
	case store.MPU:
		return checkMPU(sub)
	case store.Streams:
		return checkStreams(sub)
	case store.Recordings:
		return checkRecording(sub)
	}
	return fmt.Errorf("kind is %q, not one of %q: %w", sub.Kind, store.Kinds(), media.ErrInvalid)
}

func checkRoom(sub *store.Subscription) error {
	if err := checkURL("CallbackUrl", sub.URL, maxRoomURL); err != nil {
		return err
	}
	if len(sub.Channels) > 1 {
		return invalid("ChannelId: %d channels are given, one is the most", len(sub.Channels))
	}
	if err := checkIDs("ChannelId", &sub.Channels); err != nil {
		return err
	}
	if n := len(sub.Events); n < 1 || n > maxEvents {
		return invalid("Events: %d items are given, not 1 to %d", n, maxEvents)
	}
	for i, e := range sub.Events {
		if e != channelEvent && e != userEvent {
			return invalid("Events: %q is not %s or %s", e, channelEvent, userEvent)
		}
		if slices.Contains(sub.Events[:i], e) {
			return invalid("Events: %s is given twice", e)
		}
	}
	if len(sub.Users) > maxUsers {
		return invalid("Users: %d are given, %d are the most", len(sub.Users), maxUsers)
	}
	if len(sub.Users) > 0 && len(sub.Channels) == 0 {
		return invalid("ChannelId: it must be given together with Users")
	}
	for _, u := range sub.Users {
		if !media.IsID(u, media.MaxID) {
			return invalid("Users: %q is not 1 to 64 characters of A-Za-z0-9_-", u)
		}
	}
	sub.Users = unique(sub.Users)
	return nil
}

func checkMPU(sub *store.Subscription) error {
	if err := checkURL("CallbackUrl", sub.URL, maxMPUURL); err != nil {
		return err
	}
	if !mpuURLForm.MatchString(sub.URL) {
		return invalid("CallbackUrl: it has characters that are not of A-Za-z0-9 and -_?%%=#./+:&")
	}
	if len(sub.Channels) > maxChannels {
		return invalid("ChannelIds: %d are given, %d are the most", len(sub.Channels), maxChannels)
	}
	if err := checkIDs("ChannelIds", &sub.Channels); err != nil {
		return err
	}
	if len(unique(sub.Channels)) != len(sub.Channels) {
		return invalid("ChannelIds: one is given twice")
	}
	if len(sub.Events) > 0 || len(sub.Users) > 0 {
		return invalid("a subscription to stream relay events has no Events and no Users")
	}
	return nil
}

// checkStreams: what is told of streams is chosen by event; it holds for all
// streams of the application.
func checkStreams(sub *store.Subscription) error {
	if err := checkURL("CallbackUrl", sub.URL, maxRoomURL); err != nil {
		return err
	}
	if err := checkIDs("ChannelIds", &sub.Channels); err != nil {
		return err
	}
	if len(sub.Channels) > 0 {
		return invalid("ChannelIds: a subscription to stream events has none: it is for all streams of the application")
	}
	if len(sub.Users) > 0 {
		return invalid("Users: a subscription to stream events has none")
	}
	types := event.StreamTypes()
	if n := len(sub.Events); n < 1 || n > len(types) {
		return invalid("Events: %d items are given, not 1 to %d", n, len(types))
	}
	for i, e := range sub.Events {
		if !slices.Contains(types, event.Type(e)) {
			return invalid("Events: %.80q is not one of %s", e, types)
		}
		if slices.Contains(sub.Events[:i], e) {
			return invalid("Events: %s is given twice", e)
		}
	}
	return nil
}

// recordingKey is NotifyAuthKey (artc-api.md section 9).
var recordingKey = regexp.MustCompile(`^([A-Za-z0-9]{16,64})?$`)

// checkRecording: it is for all that happens to one cloud recording.
func checkRecording(sub *store.Subscription) error {
	if err := CheckNotify(sub.URL, sub.Secret); err != nil {
		return err
	}
	if len(sub.Channels) != 1 || sub.Channels[0] == "" || len(sub.Events) > 0 || len(sub.Users) > 0 {
		return invalid("a subscription to a cloud recording's events has its task, and no Events and no Users")
	}
	return nil
}

// CheckNotify checks the NotifyUrl and NotifyAuthKey of a cloud recording: a URL of
// up to 2048 characters, and 16 to 64 of A-Za-z0-9 or nothing. media.ErrInvalid
// names the field.
func CheckNotify(url, key string) error {
	if err := checkURL("NotifyUrl", url, maxRoomURL); err != nil {
		return err
	}
	if !recordingKey.MatchString(key) {
		return invalid("NotifyAuthKey: it is not 16 to 64 characters of A-Za-z0-9")
	}
	return nil
}

// checkIDs checks channel ids; a single "*" or "" becomes none, which means all.
func checkIDs(field string, ids *[]string) error {
	if len(*ids) == 1 && ((*ids)[0] == "*" || (*ids)[0] == "") {
		*ids = nil
	}
	for _, id := range *ids {
		if !media.IsID(id, media.MaxID) {
			return invalid("%s: %q is not 1 to 64 characters of A-Za-z0-9_-", field, id)
		}
	}
	return nil
}

// checkURL checks the form alone: where it may lead is asked when it is dialled,
// since a name can lead elsewhere by then.
func checkURL(field, raw string, limit int) error {
	if raw == "" || len(raw) > limit {
		return invalid("%s: it has %d characters, not 1 to %d", field, len(raw), limit)
	}
	for _, c := range []byte(raw) {
		if c <= ' ' || c >= 0x7f {
			return invalid("%s: it has a character that is not printable ASCII", field)
		}
	}
	u, err := url.Parse(raw)
	switch {
	case err != nil:
		if e := (*url.Error)(nil); errors.As(err, &e) {
			err = e.Err
		}
		return invalid("%s: %v", field, err)
	case u.Scheme != "http" && u.Scheme != "https":
		return invalid("%s: it does not begin with http:// or https://", field)
	case u.Hostname() == "" || u.Opaque != "":
		return invalid("%s: it has no host", field)
	case u.User != nil:
		return invalid("%s: it has a user name", field)
	case strings.Contains(raw, "#"):
		return invalid("%s: it has a fragment (#)", field)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, media.ErrInvalid)...)
}

func unique(list []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// newID makes an id that cannot be guessed; MPU's begin with "Sub-" (section 5.1).
func newID(kind store.Kind) string {
	if kind == store.MPU {
		return "Sub-" + rand.Text()
	}
	return rand.Text()
}
