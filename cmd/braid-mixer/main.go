// Command braid-mixer is the media worker: the only program of braid that links
// codecs. The server starts one for each channel that is mixed and talks to it
// over a socket pair, the messages of mixer/wire. It logs JSON lines to standard
// error and ends when the socket closes; it never outlives the server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"braid/mixer/engine"
	"braid/mixer/wire"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		fmt.Fprintf(os.Stderr, "braid-mixer: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("braid-mixer", flag.ContinueOnError)
	flags.SetOutput(stderr)
	fd := flags.Int("fd", 3, "file descriptor of the stream socket to the server")
	version := flags.Bool("version", false, "print the version and end")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	if *version {
		_, err := fmt.Fprintf(stdout, "braid-mixer %s, wire %d\n", buildVersion(), wire.Version)
		return err
	}
	conn, err := open(*fd)
	if err != nil {
		return err
	}
	return engine.Run(ctx, orphan{conn}, slog.New(slog.NewJSONHandler(stderr, nil)))
}

// open takes over the socket that the server left at fd.
func open(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "server")
	if f == nil {
		return nil, fmt.Errorf("file descriptor %d is none", fd)
	}
	defer f.Close() // FileConn has a copy
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("file descriptor %d: %w (the server starts this program)", fd, err)
	}
	return conn, nil
}

// orphan makes sure that the program does not outlive the server: should a
// decoder hang when the socket ends, the program ends without it.
type orphan struct{ net.Conn }

// endWithin is how long the engine has to end by itself; it needs milliseconds.
const endWithin = 5 * time.Second

func (o orphan) Read(b []byte) (int, error) {
	n, err := o.Conn.Read(b)
	if err != nil {
		time.AfterFunc(endWithin, func() {
			fmt.Fprintln(os.Stderr, "braid-mixer: something hangs, ending without it")
			os.Exit(2)
		})
	}
	return n, err
}

func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(devel)"
	}
	return info.Main.Version
}
