package callback

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"braid/internal/testkit"
	"braid/store"
)

// TestSignature checks what arrives at a receiver with the Go library of
// Standard Webhooks, and our own header by its documented formula.
func TestSignature(t *testing.T) {
	db := open(t)
	r := &receiver{}
	s, _ := start(t, db, Config{})
	subscribe(t, s, testApp, r.listen(t))
	var old, current store.Secret
	rotate := func(keep time.Duration) {
		update(t, db, func(tx *store.Tx) error {
			app, err := tx.Application(testApp)
			if err != nil {
				return err
			}
			old = app.Signing
			app.Signing = app.Signing.Rotate(NewSecret(), keep, time.Now())
			current = app.Signing
			return tx.UpdateApplication(&app)
		})
	}
	next := func() message {
		t.Helper()
		n := r.count()
		add(t, db, role("room", n))
		testkit.Eventually(t, "a message", func() bool { return r.count() == n+1 })
		return r.messages()[n]
	}

	rotate(0) // reads the secret; the one before is worthless now
	m := next()
	if !verified(t, m, current.Current) || verified(t, m, old.Current) {
		t.Error("after a rotation without overlap, the new secret alone must verify")
	}
	rotate(time.Hour)
	m = next()
	if !verified(t, m, current.Current) || !verified(t, m, old.Current) {
		t.Error("while a secret rotates, both must verify")
	}
	if n := len(strings.Fields(m.header.Get("webhook-signature"))); n != 2 {
		t.Errorf("got %d signatures, want 2", n)
	}
	m.body = append(m.body, ' ')
	if verified(t, m, current.Current) {
		t.Error("a changed body verifies")
	}
}

// verified tells whether both signatures hold, and fails when they disagree.
func verified(t *testing.T, m message, secret string) bool {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	standard := hook.Verify(m.body, m.header) == nil

	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil {
		t.Fatal(err)
	}
	h := hmac.New(sha256.New, key)
	h.Write(bytes.Join([][]byte{[]byte(m.header.Get("Ali-Rtc-Timestamp")), m.body}, []byte(".")))
	want := hex.EncodeToString(h.Sum(nil))
	ali := false
	for _, got := range strings.Fields(m.header.Get("Ali-Rtc-Signature")) {
		ali = ali || got == want
	}
	if ali != standard {
		t.Fatalf("Standard Webhooks says %v, Ali-Rtc-Signature %v", standard, ali)
	}
	if id := m.header.Get("webhook-id"); id != m.MsgId && m.MsgId != "" { // those of streams have another name for it
		t.Errorf("webhook-id is %q, MsgId %q", id, m.MsgId)
	}
	return standard
}

// TestSignVector is the example of the Standard Webhooks specification, and the
// forms that a secret may have.
func TestSignVector(t *testing.T) {
	const secret, id, body = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", `{"test": 2432232314}`
	h := http.Header{}
	sign(h, id, []byte(body), secretKeys([]string{secret}), time.Unix(1614265330, 0))
	if got, want := h.Get("webhook-signature"), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	bare, none := http.Header{}, http.Header{}
	sign(bare, id, []byte(body), secretKeys([]string{strings.TrimPrefix(secret, "whsec_")}), time.Unix(1614265330, 0))
	if bare.Get("webhook-signature") != h.Get("webhook-signature") {
		t.Error("a secret without its prefix is another one")
	}
	sign(none, id, []byte(body), secretKeys([]string{""}), time.Unix(1614265330, 0))
	if _, ok := none["Webhook-Signature"]; ok || none.Get("webhook-id") != id {
		t.Errorf("without a secret: %v", none)
	}
}
