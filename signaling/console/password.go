package console

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"golang.org/x/crypto/argon2"

	"braid/media"
)

// Lengths of a password in characters (ASVS 5.0 6.2.1 wants 8 at least).
const (
	MinPassword = 10
	MaxPassword = 256
)

// Cost is what hashing one password takes: argon2id (RFC 9106) on one thread.
type Cost struct {
	MemoryKiB uint32
	Passes    uint32
}

// DefaultCost is above what OWASP's password storage cheat sheet asks for, and
// takes some 100 ms of one core.
var DefaultCost = Cost{MemoryKiB: 32 << 10, Passes: 3}

const (
	hashing = 2  // passwords at the same time: 64 MiB with DefaultCost
	queuing = 30 // more wait; the next get an error
	saltLen = 16
	keyLen  = 32
	// A stored hash that asks for more is not one of ours.
	maxMemoryKiB = 1 << 20
	maxPasses    = 64
)

// hasher bounds what passwords cost all together.
type hasher struct {
	cost    Cost
	dummy   string // of no password; for names that are not there
	turn    chan struct{}
	waiting atomic.Int32
}

func newHasher(c Cost) *hasher {
	if c == (Cost{}) {
		c = DefaultCost
	}
	h := &hasher{cost: c, turn: make(chan struct{}, hashing)}
	h.dummy = encodeHash(c, make([]byte, saltLen), make([]byte, keyLen))
	return h
}

// run runs f when it is its turn; media.ErrLimit when too many wait.
func (h *hasher) run(ctx context.Context, f func()) error {
	if h.waiting.Add(1) > hashing+queuing {
		h.waiting.Add(-1)
		return fmt.Errorf("too many people sign in at this moment: %w", media.ErrLimit)
	}
	defer h.waiting.Add(-1)
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.turn }()
	f()
	return nil
}

// hash makes what is kept of a password.
func (h *hasher) hash(ctx context.Context, password string) (text string, err error) {
	salt := make([]byte, saltLen)
	rand.Read(salt) // never fails
	err = h.run(ctx, func() {
		key := argon2.IDKey([]byte(password), salt, h.cost.Passes, h.cost.MemoryKiB, 1, keyLen)
		text = encodeHash(h.cost, salt, key)
	})
	return text, err
}

// matches tells whether a password is the one that was hashed; stale that the
// hash was made at another cost. With "" for the hash it takes as long.
func (h *hasher) matches(ctx context.Context, password, hash string) (ok, stale bool, err error) {
	there := hash != ""
	if !there {
		hash = h.dummy
	}
	cost, salt, key, err := decodeHash(hash)
	if err != nil {
		return false, false, err
	}
	err = h.run(ctx, func() {
		got := argon2.IDKey([]byte(password), salt, cost.Passes, cost.MemoryKiB, 1, uint32(len(key)))
		ok = subtle.ConstantTimeCompare(got, key) == 1 && there
	})
	return ok, cost != h.cost, err
}

// encodeHash writes the usual form: $argon2id$v=19$m=32768,t=3,p=1$salt$key.
func encodeHash(c Cost, salt, key []byte) string {
	b64 := base64.RawStdEncoding.EncodeToString
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=1$%s$%s", argon2.Version, c.MemoryKiB, c.Passes, b64(salt), b64(key))
}

// decodeHash reads what encodeHash wrote, and nothing else.
func decodeHash(text string) (c Cost, salt, key []byte, err error) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 {
		return c, nil, nil, fmt.Errorf("console: a password's hash has %d parts, not 6", len(parts))
	}
	_, err = fmt.Sscanf(parts[3], "m=%d,t=%d,p=1", &c.MemoryKiB, &c.Passes)
	if err == nil {
		salt, err = base64.RawStdEncoding.Strict().DecodeString(parts[4])
	}
	if err == nil {
		key, err = base64.RawStdEncoding.Strict().DecodeString(parts[5])
	}
	if err != nil {
		return c, nil, nil, fmt.Errorf("console: a password's hash: %w", err)
	}
	if len(key) != keyLen || c.MemoryKiB < 8 || c.MemoryKiB > maxMemoryKiB || c.Passes < 1 || c.Passes > maxPasses || encodeHash(c, salt, key) != text {
		return c, nil, nil, fmt.Errorf("console: a password's hash is not one that braid makes")
	}
	return c, salt, key, nil
}

// wrongPassword says what is wrong with a new password, "" for nothing.
func wrongPassword(password, name string) string {
	n := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return "is not UTF-8"
	case n < MinPassword || n > MaxPassword:
		return fmt.Sprintf("has %d characters; it needs %d to %d", n, MinPassword, MaxPassword)
	case strings.EqualFold(password, name):
		return "is the name"
	}
	return ""
}

// Hash makes what the store keeps of a new password of an administrator. A
// password that may not be one gives wrong, which says why.
func (a *Accounts) Hash(ctx context.Context, name, password string) (hash, wrong string, err error) {
	if wrong = wrongPassword(password, name); wrong != "" {
		return "", wrong, nil
	}
	hash, err = a.hasher.hash(ctx, password)
	return hash, "", err
}
