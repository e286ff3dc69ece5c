package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"braid/media"
	"braid/store"
)

// config is braid.yaml. Zero values are the defaults of defaults().
type config struct {
	DataDir string `yaml:"data_dir"`
	Store   struct {
		DSN string `yaml:"dsn"`
	} `yaml:"store"`
	HTTP struct {
		Listen         string   `yaml:"listen"`
		PublicURL      string   `yaml:"public_url"`
		TrustedProxies []string `yaml:"trusted_proxies"` // whose X-Forwarded-For and -Proto are believed
		TLS            struct {
			Cert string `yaml:"cert"`
			Key  string `yaml:"key"`
		} `yaml:"tls"`
		ACME struct {
			Domains   []string `yaml:"domains"`
			Email     string   `yaml:"email"`
			Cache     string   `yaml:"cache"`     // a directory; "": acme in DataDir
			Directory string   `yaml:"directory"` // URL of another authority than Let's Encrypt
			Root      string   `yaml:"root"`      // a file with the certificate that the directory's own is signed by; "": the system's
		} `yaml:"acme"`
	} `yaml:"http"`
	Console struct {
		RemoteSetup bool `yaml:"remote_setup"`
	} `yaml:"console"`
	Audit struct {
		Keep time.Duration `yaml:"keep"`
	} `yaml:"audit"`
	RTMP struct {
		Listen    string `yaml:"listen"`
		PublicURL string `yaml:"public_url"`
	} `yaml:"rtmp"`
	Origin originConfig `yaml:"origin"`
	Media  struct {
		Listen      string   `yaml:"listen"`
		PublicIPs   []string `yaml:"public_ips"`   // "auto" asks STUNServers
		STUNServers []string `yaml:"stun_servers"` // host or host:port
		Voices      int      `yaml:"voices"`       // negative: all
	} `yaml:"media"`
	ICEServers []iceServer   `yaml:"ice_servers"`
	Drain      time.Duration `yaml:"drain"`
	Mixer      struct {
		Program   string        `yaml:"program"`
		MaxWidth  int           `yaml:"max_width"`
		MaxHeight int           `yaml:"max_height"`
		Hold      time.Duration `yaml:"hold"`  // how long an empty mix shows its last picture
		Cores     float64       `yaml:"cores"` // that mixes may take together; 0: all of the machine's
	} `yaml:"mixer"`
	Transcode struct {
		Cores float64 `yaml:"cores"` // 0: three quarters of the machine's
	} `yaml:"transcode"`
	Outbound struct {
		Allow []string `yaml:"allow"`
		Roots []string `yaml:"roots"` // files with certificates of authorities that are trusted beside the system's
	} `yaml:"outbound"`
	Callbacks struct {
		Timeout    time.Duration `yaml:"timeout"`
		FirstRetry time.Duration `yaml:"first_retry"`
		MaxRetry   time.Duration `yaml:"max_retry"`
		KeepTrying time.Duration `yaml:"keep_trying"`
	} `yaml:"callbacks"`
	API struct {
		RateLimits bool `yaml:"rate_limits"`
	} `yaml:"api"`
	Metrics      metricsConfig `yaml:"metrics"`
	Log          logConfig     `yaml:"log"`
	Debug        debugConfig   `yaml:"debug"`
	Storage      storageConfig `yaml:"storage"`
	Demo         *bool         `yaml:"demo"`
	AdminTokens  []string      `yaml:"admin_tokens"`
	AccessKeys   []accessKey   `yaml:"access_keys"`
	Applications []application `yaml:"applications"`

	firstStart bool   // Applications are those that a first start made, not the file's
	secretFile string // the file, when it has secrets
}

type accessKey struct {
	ID     string `yaml:"id" json:"id"`
	Secret string `yaml:"secret" json:"secret"`
}

type application struct {
	ID   string `yaml:"id" json:"id"`
	Key  string `yaml:"key" json:"key"`
	Name string `yaml:"name" json:"name"`
}

// defaults is what runs without a file: HTTP and RTMP on loopback, media on
// every address, since browsers do not connect to a loopback-only candidate.
func defaults() config {
	var c config
	c.DataDir = "braid-data"
	c.HTTP.Listen = "127.0.0.1:8080"
	c.RTMP.Listen = "127.0.0.1:1935"
	c.Origin.Validity = 30 * time.Minute
	c.Media.Listen = ":8189"
	c.Mixer.MaxWidth, c.Mixer.MaxHeight = 1920, 1088
	c.Mixer.Hold = 5 * time.Second
	c.Drain = time.Second
	c.Audit.Keep = store.AuditKept
	c.Callbacks.Timeout, c.Callbacks.FirstRetry = 5*time.Second, time.Second
	c.Callbacks.MaxRetry, c.Callbacks.KeepTrying = time.Minute, 72*time.Hour
	c.API.RateLimits = true
	c.Log.Format, c.Log.Level = "text", "info"
	return c
}

// readConfig reads a file over the defaults. Unknown and repeated fields are
// errors with their line and column.
func readConfig(name string) (config, error) {
	c := defaults()
	b, err := os.ReadFile(name)
	if err != nil {
		return c, fmt.Errorf("config: %w", err)
	}
	if err := wrongKind(b); err != nil {
		return c, fmt.Errorf("config %s: %w", name, err)
	}
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	switch err := d.Decode(&c); {
	case errors.Is(err, io.EOF): // an empty file, which the decoder takes for zero values
		return defaults(), nil
	case err != nil:
		return c, fmt.Errorf("config %s: %s", name, yaml.FormatError(err, false, true))
	}
	if d.Decode(new(any)) != io.EOF {
		return c, fmt.Errorf("config %s: it holds more than one YAML document, and only one is read", name)
	}
	if err := c.check(); err != nil {
		return c, fmt.Errorf("config %s: %w", name, err)
	}
	if c.hasSecrets() {
		c.secretFile = name
	}
	return c, nil
}

func (c *config) check() error {
	for _, l := range []struct{ field, addr string }{
		{"http.listen", c.HTTP.Listen}, {"rtmp.listen", c.RTMP.Listen}, {"media.listen", c.Media.Listen},
	} {
		if _, _, err := net.SplitHostPort(l.addr); err != nil {
			return fmt.Errorf("%s: %q is not host:port", l.field, l.addr)
		}
	}
	if err := c.checkICE(); err != nil {
		return err
	}
	if err := c.Origin.check(); err != nil {
		return err
	}
	for _, m := range []struct {
		field string
		v     int
	}{{"mixer.max_width", c.Mixer.MaxWidth}, {"mixer.max_height", c.Mixer.MaxHeight}} {
		if m.v < 16 || m.v > 4096 {
			return fmt.Errorf("%s: %d is not from 16 to 4096 pixels", m.field, m.v)
		}
	}
	if err := c.checkOutside(); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i, k := range c.AccessKeys {
		switch {
		case k.ID == "" || k.Secret == "":
			return fmt.Errorf("access_keys[%d]: id and secret are both needed", i)
		case seen["key "+k.ID]:
			return fmt.Errorf("access_keys[%d].id: %q is there twice", i, k.ID)
		}
		seen["key "+k.ID] = true
	}
	for i, a := range c.Applications {
		switch {
		case !media.IsID(a.ID, media.MaxID):
			return fmt.Errorf("applications[%d].id: %q is not 1 to 64 characters of A-Za-z0-9_-", i, a.ID)
		case a.Key == "":
			return fmt.Errorf("applications[%d].key: is needed", i)
		case seen["app "+a.ID]:
			return fmt.Errorf("applications[%d].id: %q is there twice", i, a.ID)
		}
		seen["app "+a.ID] = true
	}
	return nil
}

// checkOutside checks what braid says and does to the world around it.
func (c *config) checkOutside() error {
	for _, u := range []struct{ field, value, schemes string }{
		{"http.public_url", c.HTTP.PublicURL, "http https"}, {"rtmp.public_url", c.RTMP.PublicURL, "rtmp rtmps"},
	} {
		if u.value == "" {
			continue
		}
		at, err := url.Parse(u.value)
		if err != nil || at.Host == "" || !slices.Contains(strings.Fields(u.schemes), at.Scheme) || strings.Trim(at.Path, "/") != "" {
			return fmt.Errorf("%s: %q is not scheme://host[:port] with scheme %s", u.field, u.value, strings.ReplaceAll(u.schemes, " ", " or "))
		}
	}
	if _, err := c.allowed(); err != nil {
		return err
	}
	if _, err := c.roots(); err != nil {
		return err
	}
	if err := c.checkHTTP(); err != nil {
		return err
	}
	if err := c.checkStorage(); err != nil {
		return err
	}
	for _, check := range []func() error{c.Metrics.check, c.Log.check, c.Debug.check} {
		if err := check(); err != nil {
			return err
		}
	}
	for _, d := range []struct {
		field      string
		v          time.Duration
		least, top time.Duration
	}{
		{"drain", c.Drain, 0, time.Hour},
		{"mixer.hold", c.Mixer.Hold, 0, 10 * time.Minute},
		{"audit.keep", c.Audit.Keep, 24 * time.Hour, 10 * 366 * 24 * time.Hour},
		{"callbacks.timeout", c.Callbacks.Timeout, 100 * time.Millisecond, time.Minute},
		{"callbacks.first_retry", c.Callbacks.FirstRetry, 10 * time.Millisecond, time.Minute},
		{"callbacks.max_retry", c.Callbacks.MaxRetry, c.Callbacks.FirstRetry, time.Hour},
		{"callbacks.keep_trying", c.Callbacks.KeepTrying, time.Minute, 30 * 24 * time.Hour},
	} {
		if d.v < d.least || d.v > d.top {
			return fmt.Errorf("%s: %v is not from %v to %v", d.field, d.v, d.least, d.top)
		}
	}
	if n := c.Mixer.Cores; n < 0 || n > 1024 || n != n {
		return fmt.Errorf("mixer.cores: %v is not from 0 (all of the machine's) to 1024", n)
	}
	if n := c.Transcode.Cores; n < 0 || n > 1024 || n != n {
		return fmt.Errorf("transcode.cores: %v is not from 0 (three quarters of the machine) to 1024", n)
	}
	for i, t := range c.AdminTokens {
		if len(t) < 16 {
			return fmt.Errorf("admin_tokens[%d]: it has %d characters, at least 16 are needed", i, len(t))
		}
	}
	return nil
}

// allowed are the networks of outbound.allow.
func (c *config) allowed() ([]netip.Prefix, error) {
	return networks("outbound.allow", c.Outbound.Allow)
}

// networks reads a list of addresses and networks.
func networks(field string, texts []string) (all []netip.Prefix, err error) {
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if ip, ipErr := netip.ParseAddr(text); ipErr == nil {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s[%d]: %q is neither an address nor a network such as 10.0.0.0/8", field, i, text)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// demo tells whether the demo page is served: by default only while HTTP is on
// loopback, since its backend gives join tokens to whoever asks.
func (c *config) demo() bool {
	if c.Demo != nil {
		return *c.Demo
	}
	return loopback(c.HTTP.Listen)
}

// mixerProgram finds braid-mixer: as configured, else beside this program.
func (c *config) mixerProgram() (string, error) {
	name := c.Mixer.Program
	if name == "" {
		self, err := os.Executable()
		if err != nil {
			return "", err
		}
		name = filepath.Join(filepath.Dir(self), "braid-mixer")
	}
	info, err := os.Stat(name)
	if err != nil {
		return "", fmt.Errorf("mixer.program: the media worker is not there: %w (`make build` makes both programs)", err)
	}
	if !info.Mode().IsRegular() || info.Mode()&0o111 == 0 {
		return "", fmt.Errorf("mixer.program: %s is not a program", name)
	}
	return filepath.Abs(name) // a bare name would be looked for elsewhere
}
