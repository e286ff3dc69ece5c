// braid is a real-time media server: WebRTC in, mixed and single streams out.
//
// This is the only place where its parts meet: flags, config file, wiring, and
// the order of closing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

const usage = `braid is a real-time media server.

  braid serve [--config braid.yaml]   runs the server (the default)
  braid admin                         a link for the first administrator, a forgotten password
  braid backup FOLDER                 copies the database, while the server runs or not
  braid health                        asks the server on this machine whether it lives
  braid doctor                        says in words what works and what does not
  braid bot publish                   publishes a test picture with a clock and beeps, or a file
  braid bot load                      loads a server with publishers and watchers, and measures it
  braid version                       prints the version

Each of them has --help: braid serve --help, braid bot publish --help.
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "braid:", err)
			os.Exit(1)
		}
	}
}

// run is the whole program; it returns when ctx has ended and everything has
// been closed, or when it cannot start.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	command := "serve"
	switch {
	case len(args) == 0:
	case wantsHelp(args[0]):
		command = "help"
	case args[0] == "-v" || args[0] == "-version" || args[0] == "--version":
		command = "version"
	case len(args[0]) == 0 || args[0][0] != '-':
		command, args = args[0], args[1:]
	}
	switch command {
	case "serve":
		return serve(ctx, args, stdout, stderr)
	case "admin":
		return runAdmin(ctx, args, os.Stdin, stdout, stderr)
	case "backup":
		return runBackup(ctx, args, stdout, stderr)
	case "health":
		return runHealth(ctx, args, stdout, stderr)
	case "doctor":
		return runDoctor(ctx, args, stdout, stderr)
	case "bot":
		return bot(ctx, args, stdout, stderr)
	case "version":
		fmt.Fprintln(stdout, version())
		return nil
	case "help":
		fmt.Fprint(stdout, usage)
		return nil
	}
	fmt.Fprint(stderr, usage)
	return fmt.Errorf("there is no command %q", command)
}

func wantsHelp(arg string) bool { return arg == "-h" || arg == "-help" || arg == "--help" }

func serve(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("braid serve", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		fmt.Fprint(stderr, "braid serve runs the server until SIGTERM or SIGINT.\n\n")
		flags.PrintDefaults()
	}
	name := flags.String("config", "", "read settings from this YAML `file`; without it the defaults hold:\nHTTP on 127.0.0.1:8080, RTMP on 127.0.0.1:1935, media on :8189 (UDP and TCP), data in ./braid-data")
	level := flags.String("log", "", "log this `level` and above: debug, info, warn, error (default log.level of the config, info)")
	profiles := flags.String("debug", "", "serve memory counters and profiles on this loopback `address`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("serve: it takes flags alone, not %q", flags.Arg(0))
	}
	if *profiles != "" {
		end, err := serveDebug(*profiles)
		if err != nil {
			return err
		}
		defer end()
	}
	cfg := defaults()
	if *name != "" {
		var err error
		if cfg, err = readConfig(*name); err != nil {
			return err
		}
	}
	if *level != "" {
		if _, err := parseLevel(*level); err != nil {
			return fmt.Errorf("--log: %w", err)
		}
		cfg.Log.Level = *level
	}
	made, err := loadCredentials(&cfg)
	if err != nil {
		return err
	}
	log, levels, err := newLog(stderr, cfg.Log, cfg.secrets()...)
	if err != nil {
		return err
	}
	flight, err := startFlight(cfg.Debug)
	if err != nil {
		return err
	}
	if flight != nil {
		defer flight.Stop()
	}
	made.show(stdout, cfg.DataDir) // before anything can fail: they are not shown again
	s, err := newServer(cfg, log)
	if err != nil {
		return withAdvice(err)
	}
	s.levels, s.flight, s.notify = levels, flight, newNotifier(os.Getenv, log)
	s.welcome(stdout)
	return s.run(ctx)
}

// withAdvice says what to do about a port that cannot be had.
func withAdvice(err error) error {
	var listen *net.OpError
	switch {
	case !errors.As(err, &listen) || listen.Op != "listen":
		return err
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%w: end the program that has it (braid doctor names it), or set another in the config", err)
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%w: ports below 1024 need root or CAP_NET_BIND_SERVICE; deploy/systemd shows it", err)
	}
	return err
}

func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return "braid " + info.Main.Version + " " + info.GoVersion
	}
	return "braid"
}
