package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"runtime"
	"runtime/trace"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"braid/callback"
	"braid/event"
	"braid/media/sfu"
	"braid/metrics"
	"braid/mixer"
	"braid/origin"
	records "braid/origin/record"
	"braid/origin/snapshot"
	"braid/origin/storage"
	"braid/origin/transcode"
	"braid/relay"
	"braid/signaling"
	"braid/signaling/admin"
	"braid/signaling/artc"
	"braid/signaling/console"
	"braid/signaling/ingest"
	"braid/signaling/live"
	"braid/signaling/rtc"
	"braid/signaling/whip"
	"braid/store"
	"braid/web"
)

// closeWithin is how long requests under way may take after SIGTERM; streams to
// players end at once.
const closeWithin = 2 * time.Second

// bodyWithin is how long a client may take to send a request's body, none of
// which is over a mebibyte.
const bodyWithin = 15 * time.Second

// server is one running braid. Its parts know each other only through what they
// are handed here.
type server struct {
	HTTPAddr, RTMPAddr string // as bound

	cfg       config
	log       *slog.Logger
	started   time.Time
	store     *store.DB
	registry  *registry
	recorder  *recorder
	studio    *studio
	callbacks *callback.Service
	sfu       *sfu.Server
	pool      *mixer.Pool
	relay     *relay.Service
	domains   *domains
	thumbs    *thumbs
	shelf     snapshot.Shelf // streams' newest pictures
	budget    *transcode.Budget
	origin    *origin.Origin
	rtc       *rtc.Server
	accounts  *console.Accounts
	guard     *guard
	roots     *x509.CertPool // of outgoing connections; nil: the system's
	rtmp      net.Listener
	http      net.Listener
	web       *http.Server
	end       context.CancelFunc // of every request
	draining  atomic.Bool
	ready     readiness

	turnedAway atomic.Uint64 // sessions that came while it drained

	// Set between newServer and run, where the process has them.
	levels *logLevels
	flight *trace.FlightRecorder
	notify notifier

	storages   map[string]storage.Storage // of the config, by name
	recordings *records.Index
	cloud      *cloud
	pictures   *storage.Dir // of streams

	metrics    *metrics.Metrics
	metricsAt  net.Listener // nil: the HTTP listener serves them
	metricsWeb *http.Server
}

// newServer opens the store and the sockets and wires the parts; run serves.
func newServer(cfg config, log *slog.Logger) (_ *server, err error) {
	program, err := cfg.mixerProgram()
	if err != nil {
		return nil, err
	}
	allow, err := cfg.allowed()
	if err != nil {
		return nil, err
	}
	roots, err := cfg.roots()
	if err != nil {
		return nil, err
	}
	s := &server{cfg: cfg, log: log, started: time.Now(), roots: roots}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.http, err = net.Listen("tcp", cfg.HTTP.Listen); err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	if s.rtmp, err = net.Listen("tcp", cfg.RTMP.Listen); err != nil {
		return nil, fmt.Errorf("rtmp.listen: %w", err)
	}
	s.HTTPAddr, s.RTMPAddr = s.http.Addr().String(), s.rtmp.Addr().String()
	s.guard = newGuard(allow, netip.MustParseAddrPort(reachable(s.RTMPAddr)))
	if err := s.openStore(); err != nil {
		return nil, err
	}
	if err := s.openRecordings(); err != nil {
		return nil, err
	}
	if err := s.openPictures(); err != nil {
		return nil, err
	}
	s.sfu, err = sfu.New(sfu.Config{
		Listen: cfg.Media.Listen, PublicIPs: cfg.publicIPs(), STUNServers: cfg.stunServers(), Voices: cfg.Media.Voices, Log: log.With("part", "sfu"),
		Events: func(e event.Event) { s.recorder.queue.Put(e) },
	})
	if err != nil {
		return nil, fmt.Errorf("media.listen: %w", err)
	}
	s.pool = mixer.NewPool(mixer.Config{
		Program: program, MaxWidth: cfg.Mixer.MaxWidth, MaxHeight: cfg.Mixer.MaxHeight,
		Fetch: newFetch(s.guard, roots), Hold: cmp.Or(cfg.Mixer.Hold, -1), Slate: s.slate, Log: log.With("part", "mixer"),
	})
	ownKey := rand.Text()
	s.domains = newDomains(s.store, cfg.Origin, ownKey, log.With("part", "domains"))
	if _, err := s.domains.all(context.Background()); err != nil { // it also says who is shut out
		return nil, err
	}
	s.relay = relay.New(relay.Config{
		Channels: s.sfu, Open: s.openChannels, Mixer: s.pool, Store: s.store, Control: s.guard.control, TLS: trusting(roots),
		Origin: "rtmp://" + reachable(s.RTMPAddr), OriginKey: ownKey, Cores: cmp.Or(cfg.Mixer.Cores, float64(runtime.NumCPU())), Log: log.With("part", "relay"),
	})
	s.thumbs = newThumbs(s.sfu, s.relay.Picture, s.pool.JPEG, log.With("part", "thumbnails"))
	into := ingest.New(ingest.Config{Addresses: s.registry.address, SFU: s.sfu, Mixer: s.pool, Log: log.With("part", "ingest")})
	s.studio = newStudio(s.store, s.recorder.queue.Put, log.With("part", "studio"))
	s.origin = origin.New(origin.Config{Log: log.With("part", "origin"), Ingest: into.Publish, Access: s.domains.access, Changed: s.changed, Picture: s.shelf.Latest})
	s.studio.attach(s.origin)
	if err := s.openCloud(); err != nil {
		return nil, err
	}
	s.studio.jobs[store.RecordKind] = s.record
	s.studio.jobs[store.SnapshotKind] = s.snapshot
	s.studio.jobs[store.TranscodeKind] = s.transcode
	s.budget = newBudget(cfg.Transcode.Cores)
	if err := s.openMetrics(); err != nil {
		return nil, err
	}
	s.serveHTTP()
	if s.web.TLSConfig, err = tlsConfig(&s.cfg, log.With("part", "tls")); err != nil {
		return nil, err
	}
	cfg.warnExposed(log)
	if !cfg.tls() && !loopback(s.HTTPAddr) && !strings.HasPrefix(cfg.HTTP.PublicURL, "https://") {
		log.Warn("http.listen is reached from elsewhere without TLS: passwords and tokens can be read on the way, and browsers give pages no camera; set http.tls or http.acme, or http.public_url when a proxy in front has TLS", "listen", s.HTTPAddr)
	}
	return s, nil
}

// openStore opens what is durable and brings it up to date: the config's
// applications, and the end of what a killed process left open.
func (s *server) openStore() (err error) {
	ctx := context.Background()
	s.store, err = store.Open(ctx, store.Config{Dir: s.cfg.DataDir, DSN: s.cfg.Store.DSN, AuditKept: s.cfg.Audit.Keep, Log: s.log.With("part", "store")})
	if err != nil {
		return err
	}
	if err := seed(ctx, s.store, &s.cfg, s.log); err != nil {
		return err
	}
	if err := s.store.Depart(ctx); err != nil {
		return err
	}
	s.registry = newRegistry(s.store, s.cfg.AccessKeys, s.log)
	s.recorder = &recorder{db: s.store, log: s.log.With("part", "recorder")}
	s.callbacks = callback.New(callback.Config{
		Store: s.store, Dial: s.guard.dial, Roots: s.roots, Forbidden: forbidden, Timeout: s.cfg.Callbacks.Timeout, FirstRetry: s.cfg.Callbacks.FirstRetry,
		MaxRetry: s.cfg.Callbacks.MaxRetry, KeepTrying: s.cfg.Callbacks.KeepTrying, Log: s.log.With("part", "callback"),
	})
	return nil
}

func (s *server) serveHTTP() {
	keys := s.registry
	api := artc.New(artc.Config{
		Keys: keys, Apps: keys, Tasks: s.relay, Channels: s.sfu, SFU: s.sfu, Store: s.store, Callbacks: s.callbacks,
		Recordings: s.cloud, PublicHTTP: s.publicHTTP, PublicRTMP: s.publicRTMP, Changed: s.audit, Limits: s.cfg.API.RateLimits, Log: s.log.With("part", "api"),
	})
	mux := http.NewServeMux()
	mux.Handle("/{$}", s.front(api))
	ways := whip.New(whip.Config{SFU: s.sfu, Apps: keys, Addresses: keys.address, ICEServers: s.iceServers, Log: s.log.With("part", "whip")})
	mux.Handle("/whip/", s.unlessDraining(ways))
	mux.Handle("/whep/", s.unlessDraining(ways))
	s.rtc = rtc.New(rtc.Config{SFU: s.sfu, Apps: keys, Layout: s.layout, ICEServers: s.iceServers, Log: s.log.With("part", "rtc")})
	mux.Handle("GET /v1/rtc", s.rtc)
	pages := web.Handler()
	s.accounts = console.New(console.Config{
		Store: s.store, Pages: pages, Proxies: s.cfg.proxies(), PublicURL: s.cfg.HTTP.PublicURL, RemoteSetup: s.cfg.Console.RemoteSetup,
		Log: s.log.With("part", "console"),
	})
	mux.Handle("/console", s.accounts)
	mux.Handle("/console/", s.accounts)
	rest := admin.New(admin.Config{
		Store: s.store, Callbacks: s.callbacks, SFU: s.sfu, Tasks: s.relay, Pictures: s.thumbs, Streams: s.studio, Recordings: s.recordings, Keys: keys, Node: s.node, Accounts: s.accounts, Live: live.New(s.sfu, s.relay),
		OwnDomain: s.ownDomain, Watch: s.origin.ServeFLV, Snapshot: s.shelf.Latest, DomainsChanged: s.domains.changed, AdminTokens: s.cfg.AdminTokens, Log: s.log.With("part", "rest"),
	})
	mux.Handle("/v1/", rest)
	mux.Handle("/v1/debug/", rest.Guard(s.debug()))
	mux.Handle("/sdk/", web.SDK())
	mux.Handle("/vendor/", pages)
	mux.HandleFunc("GET /healthz", s.health)
	mux.HandleFunc("GET /readyz", s.readyz)
	if s.metricsAt == nil {
		mux.Handle("GET /metrics", s.scrapable(s.cfg.direct()))
	}
	if app, ok := s.demoApp(); ok {
		key := s.cfg.AccessKeys[0]
		demo := web.NewDemo(web.DemoConfig{
			App: app, AppKey: s.appKey, AccessKeyID: key.ID, AccessKeySecret: key.Secret,
			API: api, Channels: s.sfu, OriginRTMP: "rtmp://" + reachable(s.RTMPAddr), SignPlay: s.domains.signPlay, Log: s.log.With("part", "demo"),
		})
		guarded := s.loopbackHost(demo)
		mux.Handle("/demo", guarded)
		mux.Handle("/demo/", guarded)
	}
	mux.Handle("/", s.origin) // streams: /{app}/{name}.flv, .m3u8, and segments; 404 to what is nothing
	ctx, cancel := context.WithCancel(context.Background())
	s.end = cancel
	s.web = &http.Server{
		Handler:           strict(s.metrics.Requests(limitBody(bodyWithin, mux))),
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		BaseContext:       func(net.Listener) context.Context { return ctx },
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
}

// limitBody gives a request's body until then to arrive, so that nobody holds
// connections by sending slowly. http.Server.ReadTimeout would also end the
// answers that have no end.
func limitBody(within time.Duration, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(within)) // the server itself lifts it before the next request
		}
		next.ServeHTTP(w, r)
	})
}

// front serves "/": the RPC API, and people who open the address in a browser.
func (s *server) front(api http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rpc := r.Method != http.MethodGet || r.URL.RawQuery != "" || r.Header.Get("x-acs-action") != ""
		if !rpc && s.cfg.demo() {
			http.Redirect(w, r, "/demo/", http.StatusFound)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// loopbackHost keeps foreign pages away from a demo that is only there because
// HTTP is on loopback: a name of theirs may be made to point at 127.0.0.1 (DNS
// rebinding), and the demo's backend gives tokens to whoever asks.
func (s *server) loopbackHost(next http.Handler) http.Handler {
	if s.cfg.Demo != nil { // somebody said so
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !loopback(r.Host) {
			http.Error(w, "the demo answers to loopback names only; `demo: true` in the config opens it", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// loopback tells whether a host, with or without port, names this machine alone.
func loopback(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.Trim(hostport, "[]")
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// run serves until ctx ends or a listener fails, then closes everything in order.
func (s *server) run(ctx context.Context) error {
	if err := s.relay.Resume(ctx); err != nil {
		s.close()
		return err
	}
	rtmpCtx, endRTMP := context.WithCancel(context.WithoutCancel(ctx))
	defer endRTMP()
	endDurable := s.runDurable()
	var wg sync.WaitGroup
	failed := make(chan error, 2)
	wg.Go(func() { failed <- s.origin.ServeRTMP(rtmpCtx, s.rtmp) })
	wg.Go(func() { failed <- s.listen() })
	wg.Go(s.serveMetrics)
	s.ready.serving.Store(true)
	s.notify.tell("READY=1")
	watching, endWatch := context.WithCancel(context.Background())
	wg.Go(func() { s.notify.watchdog(watching, s.alive) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		s.ready.serving.Store(false)
	}
	started := time.Now()
	s.notify.tell("STOPPING=1")
	s.drain()
	endWatch()
	endRTMP() // after the relay has said goodbye
	wg.Wait()
	s.sfu.Close() // everyone leaves, which is the last that is recorded
	endDurable()
	s.close()
	s.log.Info("closed", "took", time.Since(started).Round(time.Millisecond))
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

// listen serves HTTP, or HTTPS, until the listener is closed.
func (s *server) listen() error {
	if s.web.TLSConfig != nil {
		return s.web.ServeTLS(s.http, "", "")
	}
	return s.web.Serve(s.http)
}

// runDurable starts what writes to the store; end stops it, the recorder last
// of those that write events, so that nothing that happened is left out.
func (s *server) runDurable() (end func()) {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	metering := &meter{sfu: s.sfu, relay: s.relay, db: s.store, log: s.log.With("part", "meter")}
	wg.Go(func() { s.recorder.run(ctx) })
	wg.Go(func() { s.callbacks.Run(ctx) })
	wg.Go(func() { metering.run(ctx) })
	var jobs, files sync.WaitGroup
	filesCtx, endFiles := context.WithCancel(context.Background())
	files.Go(func() { s.recordings.Run(filesCtx) })
	jobsCtx, endJobs := context.WithCancel(context.Background())
	jobs.Go(func() { s.studio.run(jobsCtx) })
	jobs.Go(func() { s.cloud.run(jobsCtx) })
	return func() {
		endJobs()
		jobs.Wait() // what they tell at their end is recorded
		endFiles()
		files.Wait() // so are the files that were told: the index notes that they were
		cancel()
		wg.Wait()
		s.cloud.settle()
	}
}

// unlessDraining opens no session that would end at once; those that are open
// may be changed and ended.
func (s *server) unlessDraining(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && s.draining.Load() {
			s.turnedAway.Add(1)
			w.Header().Set("Retry-After", "5")
			signaling.WriteProblem(w, http.StatusServiceUnavailable, "the server ends: it takes no new sessions")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// iceServers is what a user is told to use.
func (s *server) iceServers(user string) []signaling.ICEServer {
	return signaling.ICEServersFor(s.cfg.ice(), user, time.Now())
}

// drain stops taking work and tells the sessions, which have cfg.Drain to leave,
// then ends what runs: requests, relays, and with them the streams that viewers
// watch.
func (s *server) drain() {
	s.draining.Store(true)
	if s.cfg.Drain > 0 {
		s.rtc.Drain(context.Background(), s.cfg.Drain)
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeWithin)
	defer cancel()
	s.http.Close()
	s.rtc.Close()
	s.relay.Close()
	s.end()
	s.origin.Close()
	if s.web.Shutdown(ctx) != nil {
		s.web.Close()
	}
	if s.metricsWeb != nil {
		s.metricsWeb.Close()
	}
}

// close ends every part that was made; it may be called at any stage.
func (s *server) close() {
	if s.relay != nil {
		s.relay.Close()
	}
	if s.origin != nil {
		s.origin.Close()
	}
	if s.thumbs != nil {
		s.thumbs.close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
	if s.rtc != nil {
		s.rtc.Close()
	}
	if s.sfu != nil {
		s.sfu.Close()
	}
	for _, l := range []net.Listener{s.http, s.rtmp, s.metricsAt} {
		if l != nil {
			l.Close()
		}
	}
	if s.end != nil {
		s.end()
	}
	if s.recordings != nil {
		if err := s.recordings.Close(); err != nil {
			s.log.Error("close the index of recordings", "error", err)
		}
	}
	if s.pictures != nil {
		s.pictures.Close()
	}
	if s.store != nil {
		if err := s.store.Close(); err != nil {
			s.log.Error("close the store", "error", err)
		}
	}
}

// audit writes down what was changed by the RPC API, before it is answered.
func (s *server) audit(r *http.Request, c artc.Change) {
	e := store.AuditEntry{Kind: "key", Who: c.KeyID, Address: s.accounts.Address(r).String(), Action: c.Action, Object: c.Object, App: c.App, Result: c.Status}
	err := s.store.Update(context.WithoutCancel(r.Context()), func(tx *store.Tx) error {
		_, err := tx.AppendAudit(e)
		return err
	})
	if err != nil {
		s.log.Error("the audit log lacks a change", "action", c.Action, "app", c.App, "status", c.Status, "error", err)
	}
}

// openChannels are the open channels of an application.
func (s *server) openChannels(app string) (ids []string) {
	for _, c := range s.sfu.Snapshot() {
		if c.App == app {
			ids = append(ids, c.Channel)
		}
	}
	return ids
}

// layout is what a user may do to the mixed stream whose token grants it.
func (s *server) layout(ctx context.Context, app, channel, task string, panes json.RawMessage) error {
	return artc.SetPanes(ctx, s.relay, app, channel, task, panes)
}

// demoApp is the application that the demo page acts for: the first.
func (s *server) demoApp() (id string, ok bool) {
	if !s.cfg.demo() {
		return "", false
	}
	for _, a := range s.cfg.Applications {
		if s.registry.Exists(a.ID) {
			return a.ID, true
		}
	}
	return "", false
}

// appKey is an application's key at this moment.
func (s *server) appKey(id string) string {
	if a, ok := s.registry.application(id); ok {
		return a.Key.Current
	}
	return ""
}

// node is what the REST API says of this server.
func (s *server) node(r *http.Request) admin.Node {
	n := admin.Node{Version: version(), Started: s.started.UTC(), State: "ok", DataDir: s.cfg.DataDir, Store: "sqlite",
		HTTP: s.publicHTTP(r), RTMP: s.publicRTMP(r), Media: s.cfg.Media.Listen}
	if s.draining.Load() {
		n.State = "draining"
	}
	if s.cfg.Store.DSN != "" {
		n.Store = "postgres"
	}
	if dir, err := filepath.Abs(n.DataDir); err == nil {
		n.DataDir = dir
	}
	return n
}

// publicHTTP is how whoever sent a request reaches this server.
func (s *server) publicHTTP(r *http.Request) string {
	switch {
	case s.cfg.HTTP.PublicURL != "":
		return strings.TrimRight(s.cfg.HTTP.PublicURL, "/")
	case r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https":
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// publicRTMP is the same for RTMP: the host that the request was sent to, and
// the port that is listened on.
func (s *server) publicRTMP(r *http.Request) string {
	if s.cfg.RTMP.PublicURL != "" {
		return strings.TrimRight(s.cfg.RTMP.PublicURL, "/")
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	_, port, _ := net.SplitHostPort(s.RTMPAddr) // as bound: never malformed
	return "rtmp://" + net.JoinHostPort(host, port)
}

// welcomeAdministrator tells where the console is and, while there is nobody to
// use it, by which link the first administrator is made. It goes to the terminal
// alone, never to a log.
func (s *server) welcomeAdministrator(w io.Writer, at string) {
	if recorded(w) {
		fmt.Fprintf(w, "\nConsole: %s/console/ (while it has no administrator: braid admin setup-link)\n", at)
		return
	}
	token, _, err := s.accounts.SetupToken(context.Background())
	switch {
	case err == nil:
		fmt.Fprintf(w, "\nThere is no administrator of the console yet. Make one within 30 minutes at\n\n  %s/console#setup=%s\n", at, token)
	case signaling.Status(err) == http.StatusConflict:
		fmt.Fprintf(w, "\nConsole: %s/console/\n", at)
	default:
		s.log.Error("the console's set-up link cannot be made", "error", err)
	}
}

// reachable turns a bound address into one that this machine can connect to.
func reachable(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if ip := net.ParseIP(host); err == nil && (host == "" || ip != nil && ip.IsUnspecified()) {
		return net.JoinHostPort("127.0.0.1", port)
	}
	return addr
}

// welcome tells a person where to go.
func (s *server) welcome(w io.Writer) {
	at, live, app := s.cfg.httpURL(s.HTTPAddr), "/live/NAME", "APPLICATION"
	for _, a := range s.cfg.Applications {
		if s.registry.Exists(a.ID) { // it may have been deleted over the API
			app = a.ID
			break
		}
	}
	fmt.Fprintf(w, "braid serves %s (API, WHIP, WHEP, FLV, HLS), rtmp://%s, media on port %d (UDP and TCP)\n\n", at, reachable(s.RTMPAddr), s.sfu.Port())
	fmt.Fprintf(w, "  WHIP      %s/whip/%s/CHANNEL/USER\n", at, app)
	fmt.Fprintf(w, "  WHEP      %s/whep/%s/CHANNEL/USER\n", at, app)
	fmt.Fprintf(w, "  RTMP      rtmp://%s%s\n", reachable(s.RTMPAddr), live)
	fmt.Fprintf(w, "  HTTP-FLV  %s%s.flv\n", at, live)
	fmt.Fprintf(w, "  HLS       %s%s.m3u8\n", at, live)
	if _, ok := s.demoApp(); ok {
		fmt.Fprintf(w, "\nOpen %s/demo/ in two browser tabs.\n", at)
	}
	s.welcomeAdministrator(w, at)
}
