package artc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"braid/media"
)

// skew is how far the client's clock may be off (section 2.1, InvalidTimeStamp.Expired).
const skew = 15 * time.Minute

// claim is what a request says about who sends it and what for. Nothing in it
// is true before verify has compared the signature.
type claim struct {
	keyID, nonce, date string
	action, version    string
	toSign             string
	given              []byte                             // the signature sent
	sum                func(secret, toSign string) []byte // the scheme's own
}

// Verifier authenticates requests that are signed with an access key, and
// remembers their nonces. Its methods may be called from many goroutines.
type Verifier struct {
	keys   Keys
	now    func() time.Time
	nonces *nonces
}

// NewVerifier returns a Verifier with an empty memory for nonces; now nil
// means time.Now.
func NewVerifier(keys Keys, now func() time.Time) *Verifier {
	if now == nil {
		now = time.Now
	}
	return &Verifier{keys: keys, now: now, nonces: newNonces(maxNonces)}
}

// Verifier is the handler's own: who verifies with it shares its nonces.
func (h *Handler) Verifier() *Verifier {
	return &Verifier{keys: h.keys, now: h.now, nonces: h.nonces}
}

// VerifyPath authenticates a request whose URL path says what is called (ROA
// style): scheme ACS3-HMAC-SHA256 with the path as it was sent, still escaped,
// as the canonical URI. body is the whole body, already read. Signed must be
// host, x-acs-date, x-acs-signature-nonce, x-acs-content-sha256, and
// content-type when there is a body; method, path, query and body always are.
// It returns the access key's id. Errors are for the client's eyes; one that
// wraps media.ErrLimit means "later", every other that the request is refused.
func (v *Verifier) VerifyPath(r *http.Request, body []byte) (keyID string, err error) {
	req, err := pathRequest(r, body)
	if err != nil {
		return "", err
	}
	scheme, rest, _ := strings.Cut(strings.TrimSpace(r.Header.Get("Authorization")), " ")
	if scheme != acs3 {
		return "", incomplete("the Authorization scheme %s is not supported, use %s", quote(scheme), acs3)
	}
	must := []string{"x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
	c, err := readACS3(req, rest, must, len(body) > 0)
	if err != nil {
		return "", err
	}
	if err := v.check(c); err != nil {
		if errors.Is(err, errThrottled) {
			return "", fmt.Errorf("%w: %w", err, media.ErrLimit)
		}
		return "", err
	}
	return c.keyID, nil
}

// verify authenticates a request to the RPC API.
func (h *Handler) verify(r *request) (*claim, error) {
	c, err := readClaim(r)
	if err != nil {
		return nil, err
	}
	if err := h.Verifier().check(c); err != nil {
		return nil, err
	}
	return c, nil
}

// check tells whether a claim is true. The nonce is remembered only when all
// the rest is right, so that nobody can burn the nonce of someone else's request.
func (v *Verifier) check(c *claim) error {
	at, err := time.Parse(timeLayout, c.date)
	if err != nil {
		return errTimeFormat
	}
	now := v.now()
	if off := now.Sub(at); off > skew || off < -skew {
		return errExpired
	}
	secret, ok := v.keys.Secret(c.keyID)
	if !ok || secret == "" { // an empty secret would be a key that anyone can use
		return errAccessKey
	}
	if !hmac.Equal(c.given, c.sum(secret, c.toSign)) {
		return signatureMismatch(c.toSign)
	}
	return v.nonces.use(nonceKey(c.keyID, c.nonce), now, at)
}

// nonceKey has a fixed size whatever the client sent, so memory is bounded by the number of nonces.
func nonceKey(keyID, nonce string) (k [16]byte) {
	sum := sha256.Sum256([]byte(keyID + "\n" + nonce))
	copy(k[:], sum[:])
	return k
}

// readClaim picks the scheme: header Authorization, else parameter Signature.
func readClaim(r *request) (*claim, error) {
	scheme, rest, _ := strings.Cut(strings.TrimSpace(r.header.Get("Authorization")), " ")
	_, hasSignature := r.params["Signature"]
	switch {
	case scheme == acs3:
		must := []string{"x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
		return readACS3(r, rest, must, r.form)
	case hasSignature:
		return readRPC(r)
	case scheme != "":
		return nil, incomplete("the Authorization scheme %s is not supported, use %s", quote(scheme), acs3)
	}
	return nil, errUnsigned
}

// readACS3 reads the parts of header Authorization. The headers in must, which
// say what is called, when, and with which body, must be there and under the
// signature (section 11.1, server notes), and so must host. So must
// content-type when it decides what the body means: braid's own.
func readACS3(r *request, authorization string, must []string, typed bool) (*claim, error) {
	parts := map[string]string{}
	for part := range strings.SplitSeq(authorization, ",") {
		k, v, _ := strings.Cut(strings.TrimSpace(part), "=")
		parts[k] = v
	}
	for _, name := range []string{"Credential", "SignedHeaders", "Signature"} {
		if parts[name] == "" {
			return nil, missingPart(name)
		}
	}
	signed := strings.Split(parts["SignedHeaders"], ";")
	for _, name := range must {
		if r.header.Get(name) == "" {
			return nil, missingPart(name)
		}
	}
	must = append(must, "host")
	if typed {
		must = append(must, "content-type")
	}
	for _, name := range must {
		if !slices.Contains(signed, name) {
			return nil, incomplete("SignedHeaders does not contain %s", name)
		}
	}
	given, err := hex.DecodeString(parts["Signature"])
	if err != nil {
		return nil, incomplete("Signature is not hexadecimal")
	}
	return &claim{
		keyID:   parts["Credential"],
		nonce:   r.header.Get("x-acs-signature-nonce"),
		date:    r.header.Get("x-acs-date"),
		action:  r.header.Get("x-acs-action"),
		version: r.header.Get("x-acs-version"),
		toSign:  acs3StringToSign(r.method, r.path, r.query, r.host, r.header, signed, r.body),
		given:   given,
		sum:     acs3Sum,
	}, nil
}

// readRPC reads the signature parameters of scheme HMAC-SHA1 (section 11.2).
// Action and Version count as parameters only: the headers of the same meaning
// are not signed in this scheme.
func readRPC(r *request) (*claim, error) {
	p := r.params
	for _, name := range []string{"AccessKeyId", "Signature", "SignatureMethod", "SignatureVersion",
		"SignatureNonce", "Timestamp", "Action", "Version"} {
		if p[name] == "" {
			return nil, missingPart(name)
		}
	}
	if p["SignatureMethod"] != "HMAC-SHA1" || p["SignatureVersion"] != "1.0" {
		return nil, incomplete("SignatureMethod %s, SignatureVersion %s is not supported, use HMAC-SHA1, 1.0",
			quote(p["SignatureMethod"]), quote(p["SignatureVersion"]))
	}
	given, err := base64.StdEncoding.DecodeString(p["Signature"])
	if err != nil {
		return nil, incomplete("Signature is not base64")
	}
	return &claim{
		keyID:   p["AccessKeyId"],
		nonce:   p["SignatureNonce"],
		date:    p["Timestamp"],
		action:  p["Action"],
		version: p["Version"],
		toSign:  rpcStringToSign(r.method, p),
		given:   given,
		sum:     rpcSum,
	}, nil
}
