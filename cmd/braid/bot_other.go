//go:build !linux

package main

import (
	"context"
	"errors"
	"io"
)

func bot(context.Context, []string, io.Writer, io.Writer) error {
	return errors.New("bot: it needs Linux (recvmmsg, timerfd, /proc)")
}
