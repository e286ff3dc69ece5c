package artc

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"time"
	"unicode"

	"braid/media"
	"braid/store"
)

// Limits of ingest addresses (section 3.3). Those marked own are braid's own:
// no source states one.
const (
	maxDisplayName = 40       // characters; documented for RTMP, own for WHIP, which advises under 32 bytes
	maxClientToken = 64       // characters; own, as other Alibaba Cloud APIs have it
	maxExpire      = 31536000 // seconds, a year; own

	whipExpire = 43200 // seconds
	rtmpExpire = 36000
)

// createWHIPAddress makes a URL to which one user publishes by WHIP without a token.
func (h *Handler) createWHIPAddress(c *call) (reply, error) {
	a, err := h.createAddress(c, store.WHIPAddress, whipExpire)
	if err != nil {
		return nil, err
	}
	return reply{"WhipAddress": h.cfg.PublicHTTP(c.http) + "/whip/address/" + a.ID}, nil
}

// createRTMPAddress makes a URL to which one user publishes by RTMP.
func (h *Handler) createRTMPAddress(c *call) (reply, error) {
	a, err := h.createAddress(c, store.RTMPAddress, rtmpExpire)
	if err != nil {
		return nil, err
	}
	return reply{"RtmpAddress": h.cfg.PublicRTMP(c.http) + "/rtc/" + a.ID}, nil
}

// createAddress keeps what an address stands for. A ClientToken that was given
// before gets the address of then, as long as that holds: a call whose answer
// was lost can be made again. With other parameters it is refused: braid's own.
// ClientToken is documented for WHIP only and taken for both.
func (h *Handler) createAddress(c *call, kind store.AddressKind, expire int) (store.Address, error) {
	app, channel := h.channel(c)
	next := store.Address{Kind: kind, App: app, Channel: channel, User: c.needID("UserId", maxID)}
	next.DisplayName = displayName(c)
	expire = c.wholeOr("ExpireTime", expire, 1, maxExpire)
	next.ClientToken = c.text("ClientToken", maxClientToken)
	if err := c.err(); err != nil {
		return next, err
	}
	if err := h.enabled(c.ctx(), app); err != nil {
		return next, err
	}
	next.ID = newAddressID()
	next.Created = h.now()
	next.Expires = next.Created.Add(time.Duration(expire) * time.Second)
	err := h.cfg.Store.Update(c.ctx(), func(tx *store.Tx) error {
		old, err := tx.AddressByToken(app, kind, next.ClientToken)
		switch {
		case errors.Is(err, media.ErrNotFound):
			if err := h.absent(&next); err != nil {
				return err
			}
			return tx.CreateAddress(&next)
		case err != nil:
			return err
		case old.Channel != channel || old.User != next.User || old.DisplayName != next.DisplayName:
			return invalidParam("ClientToken: %s was used with another ChannelId, UserId or DisplayName", quote(next.ClientToken))
		}
		next = old
		return nil
	})
	return next, serviceError(err, noApp("AppId", app))
}

// displayName reads a name for people: no control characters in it, braid's own.
func displayName(c *call) string {
	const field = "DisplayName"
	name := c.text(field, maxDisplayName)
	if name == "" {
		c.missing(field)
	} else if strings.ContainsFunc(name, unicode.IsControl) {
		c.invalid(field, "%s has control characters", quote(name))
	}
	return name
}

// absent fails when the user is in the channel already: an ingest is a user of
// its own (section 3.3). It may still come before the ingest does, which is
// then refused.
func (h *Handler) absent(a *store.Address) error {
	ch, ok := h.cfg.Channels.Channel(a.App, a.Channel)
	if !ok {
		return nil
	}
	for _, u := range ch.Users() {
		if u.ID == a.User {
			return invalidParam("UserId: %s is in channel %s already, give one that is not", quote(a.User), quote(a.Channel))
		}
	}
	return nil
}

// newAddressID is the secret part of an address: 128 random bits.
func newAddressID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
