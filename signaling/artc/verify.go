package artc

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"strings"
	"time"
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

// verify authenticates a request. The nonce is remembered only when all the
// rest is right, so that nobody can burn the nonce of someone else's request.
func (h *Handler) verify(r *request) (*claim, error) {
	c, err := readClaim(r)
	if err != nil {
		return nil, err
	}
	at, err := time.Parse(timeLayout, c.date)
	if err != nil {
		return nil, errTimeFormat
	}
	now := h.now()
	if off := now.Sub(at); off > skew || off < -skew {
		return nil, errExpired
	}
	secret, ok := h.keys.Secret(c.keyID)
	if !ok || secret == "" { // an empty secret would be a key that anyone can use
		return nil, errAccessKey
	}
	if !hmac.Equal(c.given, c.sum(secret, c.toSign)) {
		return nil, signatureMismatch(c.toSign)
	}
	if err := h.nonces.use(nonceKey(c.keyID, c.nonce), now, at); err != nil {
		return nil, err
	}
	return c, nil
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
		return readACS3(r, rest)
	case hasSignature:
		return readRPC(r)
	case scheme != "":
		return nil, incomplete("the Authorization scheme %s is not supported, use %s", quote(scheme), acs3)
	}
	return nil, errUnsigned
}

// readACS3 reads the parts of header Authorization. The headers that say what
// is called, when, and with which body must be under the signature (section
// 11.1, server notes). So must content-type when a form body carries
// parameters, because it decides whether they count: braid's own.
func readACS3(r *request, authorization string) (*claim, error) {
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
	must := []string{"x-acs-action", "x-acs-version", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256"}
	for _, name := range must {
		if r.header.Get(name) == "" {
			return nil, missingPart(name)
		}
	}
	must = append(must, "host")
	if r.form {
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
		toSign:  acs3StringToSign(r.method, r.query, r.host, r.header, signed, r.body),
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
