package sdk

import (
	"bufio"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	openapiutil "github.com/alibabacloud-go/darabonba-openapi/v2/utils"
	"github.com/alibabacloud-go/tea/dara"
)

// TestCapturedRequests sends requests of the SDKs as they were captured, of
// which only what must differ is new: the host, the time, the nonce, who signs
// and in which application. They are signed by the SDK's own functions. Header
// lines keep their order and spelling, which Go's client would not.
func TestCapturedRequests(t *testing.T) {
	start(t)
	r := newReceiver(t)
	mine := map[string]string{"AppId": under.app, "ChannelId": under.channel, "CallbackUrl": r.url}
	for name, want := range map[string]struct {
		params map[string]string // more that is replaced
		status int
		code   string
	}{
		"v2-CreateEventSub":        {nil, 200, ""},
		"v2-legacy-CreateEventSub": {map[string]string{"ChannelId": ""}, 200, ""}, // none was there
		"v2-ListEventSub":          {map[string]string{"ChannelId": ""}, 200, ""},
		"v2-RemoveTerminals":       {nil, 200, ""},             // two who are not there
		"v1-StartLiveMPUTask":      {nil, 400, "MissingParam"}, // AudioBitrate
	} {
		t.Run(name, func(t *testing.T) {
			c := capture(t, name)
			for param, v := range mine {
				if other, ok := want.params[param]; ok {
					v = other
				}
				if c.query.Has(param) && v != "" {
					c.query.Set(param, v)
				}
			}
			status, a := c.send(t)
			code, _ := a["Code"].(string)
			if status != want.status || code != want.code {
				t.Fatalf("got %d %v, want %d %s", status, a, want.status, want.code)
			}
			if sub, ok := a["SubscribeId"]; ok {
				core(t, "DeleteEventSub", object{"AppId": under.app, "SubscribeId": sub})
			}
		})
	}
}

// TestCapturedTask is the captured StartLiveMPUTask with users who are there.
func TestCapturedTask(t *testing.T) {
	start(t)
	c := capture(t, "v2-StartLiveMPUTask")
	enter(t, "sdk-guests", "visitor")
	mine := strings.NewReplacer(`"111"`, `"`+under.users[0]+`"`, `"222"`, `"visitor"`, `"ch2"`, `"sdk-guests"`,
		"rtmp://127.0.0.1/live/", under.rtmp+"/sdk-captured-", "https://example.invalid/bg.png", pictures(t))
	for name, v := range c.query {
		c.query.Set(name, mine.Replace(v[0]))
	}
	c.query.Set("AppId", under.app)
	c.query.Set("ChannelId", under.channel)
	c.query.Set("TaskId", "sdk-captured")
	if status, a := c.send(t); status != 200 {
		t.Fatalf("got %d %v", status, a)
	}
	plays(t, "sdk-captured-b")
	core(t, "StopLiveMPUTask", object{"AppId": under.app, "TaskId": "sdk-captured"})
}

// TestFormBody sends parameters in the body, as older SDKs of other languages
// do; they are signed together with those of the query.
func TestFormBody(t *testing.T) {
	start(t)
	c := &captured{method: "POST", lines: []string{"Host: x", "Content-Type: application/x-www-form-urlencoded", "Content-Length: x"},
		query: url.Values{"Action": {"DescribeChannelUsers"}, "Version": {apiVersion}, "Format": {"JSON"}, "AccessKeyId": {"x"}, "Timestamp": {"x"},
			"SignatureMethod": {"HMAC-SHA1"}, "SignatureVersion": {"1.0"}, "SignatureNonce": {"x"}, "Signature": {"x"}},
		form: url.Values{"AppId": {under.app}, "ChannelId": {under.channel}}}
	if status, a := c.send(t); status != 200 || a["IsChannelExists"] != true {
		t.Errorf("got %d %v", status, a)
	}
}

// captured is a request as bytes, in parts that can be replaced.
type captured struct {
	method      string
	query, form url.Values
	lines       []string // of the header
}

// capture reads one of the requests that braid's own tests have.
func capture(t *testing.T, name string) *captured {
	t.Helper()
	raw, err := os.ReadFile("../../signaling/artc/testdata/captured/" + name + ".http")
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n\n")
	lines := strings.Split(head, "\n")
	first := strings.Fields(lines[0])
	target, err := url.ParseRequestURI(first[1])
	if err != nil {
		t.Fatal(err)
	}
	c := &captured{method: first[0], query: target.Query(), lines: lines[1:]}
	if c.query.Encode() != target.RawQuery {
		t.Fatalf("the query of %s would not be written again as it was captured", name)
	}
	return c
}

// renew replaces a header's value, if the header is there.
func (c *captured) renew(name, value string) {
	for i, line := range c.lines {
		if old, _, _ := strings.Cut(line, ":"); strings.EqualFold(old, name) {
			c.lines[i] = old + ": " + value
		}
	}
}

func (c *captured) send(t *testing.T) (status int, answer object) {
	t.Helper()
	now, nonce := time.Now().UTC().Format("2006-01-02T15:04:05Z"), strings.ToLower(rand.Text())
	c.renew("Host", under.endpoint)
	if c.query.Has("Signature") {
		c.signRPC(now, nonce)
	} else {
		c.signACS3(now, nonce)
	}
	body := c.form.Encode()
	c.renew("Content-Length", fmt.Sprint(len(body)))
	request := fmt.Sprintf("%s /?%s HTTP/1.1\r\n%s\r\n\r\n%s", c.method, c.query.Encode(), strings.Join(c.lines, "\r\n"), body)
	conn, err := net.Dial("tcp", under.endpoint)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}

func (c *captured) signRPC(now, nonce string) {
	c.query.Set("AccessKeyId", under.keyID)
	c.query.Set("Timestamp", now)
	c.query.Set("SignatureNonce", nonce)
	c.query.Del("Signature")
	params := map[string]*string{}
	for _, part := range []url.Values{c.query, c.form} {
		for name := range part {
			params[name] = dara.String(part.Get(name))
		}
	}
	c.query.Set("Signature", *openapiutil.GetRPCSignature(params, &c.method, &under.secret))
}

func (c *captured) signACS3(now, nonce string) {
	c.renew("x-acs-date", now)
	c.renew("x-acs-signature-nonce", nonce)
	r := dara.NewRequest()
	r.Method, r.Pathname, r.Query, r.Headers = &c.method, dara.String("/"), map[string]*string{}, map[string]*string{}
	for name := range c.query {
		r.Query[name] = dara.String(c.query.Get(name))
	}
	for _, line := range c.lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Headers[strings.ToLower(name)] = &value
	}
	hash := openapiutil.Hash([]byte(c.form.Encode()), dara.String("ACS3-HMAC-SHA256"))
	c.renew("Authorization", *openapiutil.GetAuthorization(r, dara.String("ACS3-HMAC-SHA256"), dara.String(fmt.Sprintf("%x", hash)), &under.keyID, &under.secret))
}
