package sfu

import (
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLogs leads Pion's logs to slog, two levels lower: what Pion calls an
// error is mostly what one client did, and a client must not be able to fill
// the log.
type pionLogs struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (p pionLogs) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{p.log.With("pion", scope)}
}

type pionLog struct{ log *slog.Logger }

func (l pionLog) Error(msg string)             { l.log.Debug(msg) }
func (l pionLog) Errorf(f string, args ...any) { l.log.Debug(fmt.Sprintf(f, args...)) }
func (l pionLog) Warn(msg string)              { l.log.Debug(msg) }
func (l pionLog) Warnf(f string, args ...any)  { l.log.Debug(fmt.Sprintf(f, args...)) }
func (pionLog) Info(string)                    {}
func (pionLog) Infof(string, ...any)           {}
func (pionLog) Debug(string)                   {}
func (pionLog) Debugf(string, ...any)          {}
func (pionLog) Trace(string)                   {}
func (pionLog) Tracef(string, ...any)          {}
