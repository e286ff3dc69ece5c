package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"

	"braid/store"
)

// notifier tells systemd, or whoever started braid the same way, how it does
// (sd_notify(3)): by a datagram to the socket that NOTIFY_SOCKET names. The zero
// value tells nobody.
type notifier struct {
	socket string
	every  time.Duration // between signs of life; 0: none are wanted
	log    *slog.Logger
}

// newNotifier reads the environment that systemd gives a service.
func newNotifier(env func(string) string, log *slog.Logger) notifier {
	n := notifier{socket: env("NOTIFY_SOCKET"), log: log}
	usec, err := strconv.ParseInt(env("WATCHDOG_USEC"), 10, 64)
	pid := env("WATCHDOG_PID")
	if err == nil && usec > 0 && (pid == "" || pid == strconv.Itoa(os.Getpid())) {
		n.every = time.Duration(usec) * time.Microsecond / 2 // as sd_watchdog_enabled(3) advises
	}
	return n
}

// tell sends a state such as READY=1. What cannot be sent is logged: braid runs
// all the same.
func (n notifier) tell(state string) {
	if n.socket == "" {
		return
	}
	// Go writes abstract names as systemd does, with an @.
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: n.socket, Net: "unixgram"})
	if err == nil {
		_, err = c.Write([]byte(state))
		c.Close()
	}
	if err != nil {
		n.log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}

// watchdog gives a sign of life as long as alive comes back in time, until ctx
// ends.
func (n notifier) watchdog(ctx context.Context, alive func(context.Context) error) {
	if n.socket == "" || n.every <= 0 {
		return
	}
	tick := time.NewTicker(n.every)
	defer tick.Stop()
	for {
		if err := alive(ctx); err == nil {
			n.tell("WATCHDOG=1")
		} else if ctx.Err() == nil {
			n.log.Error("the server does not answer itself: the watchdog will restart it", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// alive goes through the locks of the parts that everything needs: the SFU, the
// origin, the relay and the store. It does not come back while one of them is
// wedged, but for the store, whose absence calls survive.
func (s *server) alive(ctx context.Context) error {
	s.sfu.Snapshot()
	s.relay.States()
	s.origin.Streams()
	ctx, cancel := context.WithTimeout(ctx, readyWithin)
	defer cancel()
	if err := s.store.View(ctx, func(tx *store.Tx) error { return nil }); err != nil && ctx.Err() == nil {
		s.log.Warn("the store does not answer", "error", err)
	}
	return nil
}
