package main

import (
	"fmt"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"braid/relay"
)

// hidden stands in the log where a secret was.
const hidden = "***"

// redactor takes secrets out of what is logged: the last fence, behind parts that
// do not log them in the first place. It knows the configuration's own secrets by
// heart and others by their form.
type redactor struct {
	known *strings.Replacer // nil: none
}

// leastKnown keeps short words, which stand in every line, from being hidden.
const leastKnown = 8

func newRedactor(secrets []string) *redactor {
	var pairs []string
	for _, s := range secrets {
		if len(s) >= leastKnown {
			pairs = append(pairs, s, hidden)
		}
	}
	if pairs == nil {
		return &redactor{}
	}
	return &redactor{strings.NewReplacer(pairs...)}
}

// secretKeys are attributes whose whole value is one.
var secretKeys = []string{"key", "secret", "token", "password", "authorization", "cookie", "auth_key", "app_key", "stream_key", "signing_key", "credential"}

var (
	// a URL of a push: what is after the application is the stream's key
	pushURL = regexp.MustCompile(`(?i)\b(?:rtmps?|srt)://[^\s"'<>]+`)
	// user:password@ in any URL
	userInfo = regexp.MustCompile(`(://)[^/\s"'@]+:[^/\s"'@]*@`)
	// parameters of queries and JSON members, by name
	parameter = regexp.MustCompile(`(?i)\b((?:auth_?key|access_?token|app_?key|stream_?key|signing_?key|secret|signature|password|passphrase|token|sk)"?\s*[=:]\s*"?)[^\s"&,;}]+`)
	bearer    = regexp.MustCompile(`(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+`)
	jwt       = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.?[A-Za-z0-9_-]*`)
	webhook   = regexp.MustCompile(`\bwhsec_[A-Za-z0-9+/=_-]+`)
	typeA     = regexp.MustCompile(`\b\d{10}-[A-Za-z0-9]+-[A-Za-z0-9]+-[0-9a-f]{32}\b`) // auth_key's value
)

// text takes the secrets out of a line.
func (r *redactor) text(s string) string {
	if r.known != nil {
		s = r.known.Replace(s)
	}
	if len(s) < leastKnown {
		return s
	}
	s = pushURL.ReplaceAllStringFunc(s, redactPush)
	s = userInfo.ReplaceAllString(s, "${1}"+hidden+"@")
	s = parameter.ReplaceAllString(s, "${1}"+hidden)
	s = bearer.ReplaceAllString(s, "${1}"+hidden)
	s = jwt.ReplaceAllString(s, hidden)
	s = webhook.ReplaceAllString(s, hidden)
	return typeA.ReplaceAllString(s, hidden)
}

// redactPush keeps of a push URL what tells where it goes.
func redactPush(url string) string {
	if clean := relay.Redact(url); clean != hidden {
		return clean
	}
	scheme, rest, _ := strings.Cut(url, "://") // not whole: a server's address, or broken
	host, path, more := strings.Cut(rest, "/")
	host = host[strings.LastIndexByte(host, '@')+1:]
	address, query, asks := strings.Cut(host, "?")
	if query == hidden { // as relay.Redact leaves it
		return scheme + "://" + host
	}
	if more && path != "" || asks && query != "" {
		address += "/" + hidden
	}
	return scheme + "://" + address
}

// attr is a slog.HandlerOptions.ReplaceAttr.
func (r *redactor) attr(_ []string, a slog.Attr) slog.Attr {
	if slices.Contains(secretKeys, strings.ToLower(a.Key)) && a.Value.String() != "" {
		return slog.String(a.Key, hidden)
	}
	switch a.Value.Kind() {
	case slog.KindString:
		return slog.String(a.Key, r.text(a.Value.String()))
	case slog.KindDuration: // JSON has 450ms too, not nanoseconds
		return slog.String(a.Key, a.Value.Duration().String())
	case slog.KindAny:
		v := a.Value.Any()
		if err, ok := v.(error); ok {
			return slog.String(a.Key, r.text(err.Error()))
		}
		text := fmt.Sprint(v)
		if clean := r.text(text); clean != text {
			return slog.String(a.Key, clean)
		}
	}
	return a
}
