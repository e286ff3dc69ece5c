package artc

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"braid/store"
)

// ingests are the two actions that make addresses.
var ingests = []struct {
	action, field string
	kind          store.AddressKind
	url           *regexp.Regexp // the id is its first group
	expire        time.Duration
}{
	{"CreateRTCWhipStreamAddress", "WhipAddress", store.WHIPAddress, regexp.MustCompile(`^http://127\.0\.0\.1:\d+/whip/address/([0-9a-f]{32})$`), 12 * time.Hour},
	{"CreateRoomRealTimeStreamAddress", "RtmpAddress", store.RTMPAddress, regexp.MustCompile(`^rtmp://media\.example/rtc/([0-9a-f]{32})$`), 10 * time.Hour},
}

var obs = map[string]string{"AppId": "app1", "ChannelId": "ch1", "UserId": "obs", "DisplayName": "Studio 演播室"}

// address is what is kept behind a URL.
func (s *server) address(id string) store.Address {
	s.t.Helper()
	var a store.Address
	err := s.db.View(s.t.Context(), func(tx *store.Tx) (err error) { a, err = tx.Address(id); return err })
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func TestCreateAddress(t *testing.T) {
	for _, in := range ingests {
		s := startWhole(t)
		a := s.call(in.action, obs)
		url, _ := a.body[in.field].(string)
		id := in.url.FindStringSubmatch(url)
		if a.status != 200 || len(a.body) != 2 || id == nil {
			t.Fatalf("%s: got %d %v", in.action, a.status, a.body)
		}
		got := s.address(id[1])
		want := store.Address{ID: id[1], Kind: in.kind, App: "app1", Channel: "ch1", User: "obs", DisplayName: "Studio 演播室",
			Created: captureTime, Expires: captureTime.Add(in.expire)}
		if got != want {
			t.Errorf("%s keeps\n%+v, want\n%+v", in.action, got, want)
		}
		if again := s.call(in.action, obs); again.body[in.field] == url {
			t.Errorf("%s: the same URL twice without a ClientToken", in.action)
		}
		a = s.call(in.action, with(obs, "ExpireTime", "60"))
		id = in.url.FindStringSubmatch(a.body[in.field].(string))
		if got := s.address(id[1]).Expires; got != captureTime.Add(time.Minute) {
			t.Errorf("%s with ExpireTime 60 expires at %v", in.action, got)
		}
	}
}

func TestAddressLimits(t *testing.T) {
	s := startWhole(t)
	for _, in := range ingests {
		call := func(more ...string) answer { return s.call(in.action, with(obs, more...)) }
		for _, field := range []string{"ChannelId", "UserId", "DisplayName"} {
			s.expect("no "+field, call(field, ""), 400, "MissingParam", field+" is missing")
		}
		for _, n := range []string{"0", "31536001", "-1", "1.5", "ten"} {
			s.expect("ExpireTime "+n, call("ExpireTime", n), 400, "InvalidParam", fmt.Sprintf("ExpireTime: %q is not a whole number from 1 to 31536000", n))
		}
		for _, n := range []string{"1", "31536000"} {
			if a := call("ExpireTime", n); a.status != 200 {
				t.Errorf("ExpireTime %s: got %v", n, a.body)
			}
		}
		if a := call("DisplayName", strings.Repeat("名", 40)); a.status != 200 {
			t.Errorf("40 characters: got %v", a.body)
		}
		s.expect("41 characters", call("DisplayName", strings.Repeat("名", 41)), 400, "InvalidParam", "DisplayName: is 41 characters long, at most 40 are allowed")
		s.expect("a line break", call("DisplayName", "a\nb"), 400, "InvalidParam", `DisplayName: "a\nb" has control characters`)
		s.expect("a bad user", call("UserId", "a/b"), 400, "InvalidParam", `UserId: "a/b" is not 1 to 64 of A-Z a-z 0-9 _ -`)
		s.expect("a user who is there", call("UserId", "viewer"), 400, "InvalidParam",
			`UserId: "viewer" is in channel "ch1" already, give one that is not`)
		s.expect("65 of ClientToken", call("ClientToken", strings.Repeat("t", 65)), 400, "InvalidParam",
			"ClientToken: is 65 characters long, at most 64 are allowed")
	}
}

// The same ClientToken gets the same address while that holds, whoever is in
// the channel by then.
func TestAddressClientToken(t *testing.T) {
	for _, in := range ingests {
		s := startWhole(t)
		call := func(more ...string) answer {
			return s.call(in.action, with(obs, append(more, "ClientToken", "once")...))
		}
		first := call().body[in.field]
		if again := call("ExpireTime", "99").body[in.field]; first == nil || again != first {
			t.Errorf("%s: got %v, then %v", in.action, first, again)
		}
		ch, _ := s.rooms.Channel("app1", "ch1")
		s.rooms.put("app1", "ch1", append(ch.Users(), ch.Users()[0])...)
		if again := call().body[in.field]; again != first {
			t.Errorf("%s: got %v, then %v", in.action, first, again)
		}
		for _, field := range []string{"ChannelId", "UserId", "DisplayName"} {
			s.expect("another "+field, call(field, "other"), 400, "InvalidParam",
				`ClientToken: "once" was used with another ChannelId, UserId or DisplayName`)
		}
		if other := call("AppId", "app2").body[in.field]; other == nil || other == first {
			t.Errorf("%s in another application: got %v", in.action, other)
		}
		s.now.Add(int64(in.expire / time.Second))
		if next := call().body[in.field]; next == nil || next == first {
			t.Errorf("%s after it has expired: got %v", in.action, next)
		}
	}
}

// An application that is deleted at this moment is no fault of the server's.
func TestDeletedApplication(t *testing.T) {
	s := startWhole(t)
	if err := s.db.Update(t.Context(), func(tx *store.Tx) error { return tx.DeleteApplication("app1") }); err != nil {
		t.Fatal(err)
	}
	const why = `AppId: there is no application "app1"`
	for _, in := range ingests {
		s.expect(in.action, s.call(in.action, obs), 400, "InvalidAppId", why)
	}
	s.expect("CreateEventSub", s.call("CreateEventSub", allEvents), 400, "InputInvalid", why)
	s.expect("CreateRtcMPUEventSub", s.call("CreateRtcMPUEventSub", with(mpuApp, "CallbackUrl", "http://cb.example/")), 400, "InvalidAppId", why)
}

func TestDisabledApplication(t *testing.T) {
	s := startWhole(t)
	err := s.db.Update(t.Context(), func(tx *store.Tx) error {
		a, err := tx.Application("app1")
		if err != nil {
			return err
		}
		a.Disabled = true
		return tx.UpdateApplication(&a)
	})
	if err != nil {
		t.Fatal(err)
	}
	const why = `AppId: the application "app1" is disabled`
	s.expect("start", s.call("StartLiveMPUTask", singleTask("t1")), 403, "OperationDenied", why)
	for _, in := range ingests {
		s.expect(in.action, s.call(in.action, obs), 403, "OperationDenied", why)
		if a := s.call(in.action, with(obs, "AppId", "app2")); a.status != 200 {
			t.Errorf("%s in another application: got %v", in.action, a.body)
		}
	}
	if a := s.call("DescribeChannelUsers", inRoom); a.status != 200 {
		t.Errorf("looking: got %v", a.body)
	}
}
