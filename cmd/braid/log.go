package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
)

// logConfig says how the log looks and what is in it.
type logConfig struct {
	Format string            `yaml:"format"` // text or json
	Level  string            `yaml:"level"`  // debug, info, warn, error
	Levels map[string]string `yaml:"levels"` // of single parts
}

// logParts are the names under which parts write; `part` in each line.
var logParts = []string{"api", "callback", "console", "debug", "demo", "domains", "ingest", "meter", "metrics", "mixer", "origin", "record",
	"recorder", "relay", "rest", "rtc", "sfu", "snapshot", "store", "studio", "thumbnails", "tls", "transcode", "whip"}

func (l *logConfig) check() error {
	if l.Format != "text" && l.Format != "json" {
		return fmt.Errorf("log.format: %q is not text or json", l.Format)
	}
	if _, err := parseLevel(l.Level); err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	for _, part := range slices.Sorted(maps.Keys(l.Levels)) {
		if err := checkPart(part); err != nil {
			return fmt.Errorf("log.levels: %w", err)
		}
		if _, err := parseLevel(l.Levels[part]); err != nil {
			return fmt.Errorf("log.levels.%s: %w", part, err)
		}
	}
	return nil
}

func checkPart(name string) error {
	if !slices.Contains(logParts, name) {
		return fmt.Errorf("%q is none of the parts %s", name, strings.Join(logParts, ", "))
	}
	return nil
}

func parseLevel(text string) (slog.Level, error) {
	switch text {
	case "debug":
		return slog.LevelDebug, nil
	case "info":
		return slog.LevelInfo, nil
	case "warn":
		return slog.LevelWarn, nil
	case "error":
		return slog.LevelError, nil
	}
	return 0, fmt.Errorf("%q is not debug, info, warn or error", text)
}

// newLog makes the log and the switch for its levels. What looks like a secret is
// not written, whatever the format; hide are known ones.
func newLog(w io.Writer, c logConfig, hide ...string) (*slog.Logger, *logLevels, error) {
	levels := &logLevels{parts: map[string]*slog.LevelVar{}}
	if err := levels.set(c.Level, c.Levels); err != nil {
		return nil, nil, err
	}
	options := &slog.HandlerOptions{Level: slog.LevelDebug, ReplaceAttr: newRedactor(hide).attr}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if c.Format == "json" {
		h = slog.NewJSONHandler(w, options)
	}
	return slog.New(&partHandler{next: h, levels: levels}), levels, nil
}

// logLevels is what is written, changed while the server runs.
type logLevels struct {
	all slog.LevelVar

	mu    sync.RWMutex
	parts map[string]*slog.LevelVar // those that have a level of their own
}

// set replaces all levels, or none when one is wrong. The error names it.
func (l *logLevels) set(level string, parts map[string]string) error {
	all, err := parseLevel(level)
	if err != nil {
		return fmt.Errorf("level: %w", err)
	}
	next := map[string]*slog.LevelVar{}
	for part, text := range parts {
		if err := checkPart(part); err != nil {
			return fmt.Errorf("levels: %w", err)
		}
		v, err := parseLevel(text)
		if err != nil {
			return fmt.Errorf("levels.%s: %w", part, err)
		}
		next[part] = new(slog.LevelVar)
		next[part].Set(v)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Set(all)
	l.parts = next
	return nil
}

// get is what set was given.
func (l *logLevels) get() (level string, parts map[string]string) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	parts = map[string]string{}
	for name, v := range l.parts {
		parts[name] = strings.ToLower(v.Level().String())
	}
	return strings.ToLower(l.all.Level().String()), parts
}

func (l *logLevels) of(part string) slog.Level {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if v := l.parts[part]; v != nil {
		return v.Level()
	}
	return l.all.Level()
}

// partHandler lets through what the level of the part that writes allows. A
// logger's part is the attribute of that name.
type partHandler struct {
	next   slog.Handler
	levels *logLevels
	part   string
}

func (h *partHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.levels.of(h.part)
}

func (h *partHandler) Handle(ctx context.Context, r slog.Record) error { return h.next.Handle(ctx, r) }

func (h *partHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	part := h.part
	for _, a := range attrs {
		if a.Key == "part" {
			part = a.Value.String()
		}
	}
	return &partHandler{h.next.WithAttrs(attrs), h.levels, part}
}

func (h *partHandler) WithGroup(name string) slog.Handler {
	return &partHandler{h.next.WithGroup(name), h.levels, h.part}
}

// secrets are those that the configuration has.
func (c *config) secrets() (all []string) {
	all = append(all, c.AdminTokens...)
	all = append(all, c.Metrics.Token)
	for _, k := range c.AccessKeys {
		all = append(all, k.Secret)
	}
	for _, a := range c.Applications {
		all = append(all, a.Key)
	}
	for _, s := range c.ICEServers {
		all = append(all, s.Credential, s.Secret)
	}
	for _, s := range c.Storage.S3 {
		all = append(all, s.SecretKey)
	}
	return all
}
