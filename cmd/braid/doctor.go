package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

const doctorUsage = `braid doctor says in words what works and what does not.

  braid doctor [--config braid.yaml]                  on the server: settings, ports, addresses, limits, the media worker
  braid doctor --url https://HOST --token JOIN_TOKEN  from where a user is: name, TLS, every address of the media, a call
  braid doctor --url https://HOST --app ID --key KEY  the same with a token of its own, in a channel of its own

It changes nothing. It ends with 0 when all is well (warnings included), else with 1. doc/doctor.md explains what it looks at.

`

// verdict is how a check ended.
type verdict string

const (
	fine    verdict = "ok"
	warning verdict = "warning" // works, and somebody should look at it
	failed  verdict = "failed"
	skipped verdict = "skipped" // could not be looked at
)

// finding is what one check found.
type finding struct {
	Check  string  `json:"check"`
	Result verdict `json:"result"`
	Says   string  `json:"says"`
	Do     string  `json:"do,omitempty"` // what to open or set
}

// doctor makes checks, one after the other, and shows what it finds as it goes.
type doctor struct {
	ctx      context.Context
	show     func(finding)
	now      func() time.Time
	findings []finding
}

func (d *doctor) say(check string, r verdict, do, format string, args ...any) {
	f := finding{check, r, fmt.Sprintf(format, args...), do}
	d.findings = append(d.findings, f)
	d.show(f)
}

func (d *doctor) ok(check, format string, args ...any) { d.say(check, fine, "", format, args...) }
func (d *doctor) warn(check, do, format string, args ...any) {
	d.say(check, warning, do, format, args...)
}
func (d *doctor) fail(check, do, format string, args ...any) {
	d.say(check, failed, do, format, args...)
}
func (d *doctor) skip(check, format string, args ...any) { d.say(check, skipped, "", format, args...) }

// count tells how many findings have a verdict.
func (d *doctor) count(r verdict) (n int) {
	for _, f := range d.findings {
		if f.Result == r {
			n++
		}
	}
	return n
}

// doctorOptions is what braid doctor was asked for.
type doctorOptions struct {
	config string
	url    string
	token  string
	app    string
	key    string
	ca     string
	json   bool
	within time.Duration // for media to flow
	here   bool          // the server is this machine
}

// runDoctor is the subcommand.
func runDoctor(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var o doctorOptions
	flags := flag.NewFlagSet("braid doctor", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { fmt.Fprint(stderr, doctorUsage); flags.PrintDefaults() }
	flags.StringVar(&o.config, "config", "", "look at this machine as the server of this YAML `file`;\nwithout it and without --url, of the default settings")
	flags.StringVar(&o.url, "url", "", "look at a server as a user at this `address` does: https://host[:port]")
	flags.StringVar(&o.token, "token", "", "with --url: a join `token`; the test publishes into its channel for some seconds")
	flags.StringVar(&o.app, "app", "", "with --url: the application's `id`, to make a token for a channel of the test's own")
	flags.StringVar(&o.key, "key", "", "with --url: the application's `key`")
	flags.StringVar(&o.ca, "ca", "", "with --url: trust the certificates in this PEM `file` as well")
	flags.DurationVar(&o.within, "media", 3*time.Second, "with --url: how long sound is sent and listened for")
	flags.BoolVar(&o.json, "json", false, "write one JSON object when all is done")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("doctor: %q is not a flag", flags.Arg(0))
	}
	roots, err := o.check()
	if err != nil {
		return err
	}
	d := &doctor{ctx: ctx, now: time.Now, show: printer(stdout)}
	if o.json {
		d.show = func(finding) {}
	}
	if o.config != "" || o.url == "" {
		d.heading(stdout, o.json, "This machine as a server")
		d.server(o.config)
	}
	if o.url != "" {
		d.heading(stdout, o.json, o.url+", as a user sees it")
		d.client(o, roots)
	}
	return d.conclude(stdout, o.json)
}

// check looks at what was asked for.
func (o *doctorOptions) check() (*x509.CertPool, error) {
	switch {
	case o.url == "" && (o.token != "" || o.app != "" || o.key != "" || o.ca != ""):
		return nil, errors.New("doctor: --token, --app, --key and --ca are for --url")
	case o.token != "" && o.app+o.key != "" || (o.app == "") != (o.key == ""):
		return nil, errors.New("doctor: give --token, or --app together with --key")
	case o.within < time.Second || o.within > time.Minute:
		return nil, fmt.Errorf("doctor: --media: %v is not from 1s to 1m", o.within)
	case o.ca == "":
		return nil, nil
	}
	pem, err := os.ReadFile(o.ca)
	if err != nil {
		return nil, fmt.Errorf("doctor: --ca: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("doctor: --ca: %s has no certificate", o.ca)
	}
	return roots, nil
}

func (d *doctor) heading(w io.Writer, quiet bool, text string) {
	if !quiet {
		fmt.Fprintf(w, "%s\n\n", text)
	}
}

// printer writes findings for people.
func printer(w io.Writer) func(finding) {
	marks := map[verdict]string{fine: "ok     ", warning: "look   ", failed: "FAILED ", skipped: "-      "}
	return func(f finding) {
		fmt.Fprintf(w, "  %s %-10s %s\n", marks[f.Result], f.Check, f.Says)
		if f.Do != "" {
			for line := range strings.SplitSeq(f.Do, "\n") {
				fmt.Fprintf(w, "  %19s> %s\n", "", line)
			}
		}
	}
}

// conclude says how it is on the whole; an error is what ends the program with 1.
func (d *doctor) conclude(w io.Writer, asJSON bool) error {
	bad, look := d.count(failed), d.count(warning)
	if asJSON {
		text, err := json.MarshalIndent(map[string]any{"ok": bad == 0, "checks": d.findings}, "", "  ")
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\n", text)
	} else {
		fmt.Fprintln(w)
	}
	switch {
	case d.ctx.Err() != nil:
		return errors.New("doctor: it was ended before it was done")
	case bad > 0:
		return fmt.Errorf("doctor: %s", countOf(bad, "check failed", "checks failed"))
	case asJSON:
	case look > 0:
		fmt.Fprintf(w, "It works; %s.\n", countOf(look, "thing should be looked at", "things should be looked at"))
	default:
		fmt.Fprintln(w, "All is well.")
	}
	return nil
}

func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// serverVersion is the version that a braid tells at /healthz; "" for what is
// no braid.
func serverVersion(resp *http.Response) string {
	name := resp.Header.Get("Server")
	if name == "braid" || strings.HasPrefix(name, "braid ") {
		return name
	}
	return ""
}
