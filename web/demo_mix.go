package web

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"braid/media"
	"braid/signaling"
	"braid/signaling/artc"
)

// mixJSON is a running mix as the page sees it.
type mixJSON struct {
	Layout string `json:"layout"`
	Task   string `json:"task"`
	RTMP   string `json:"rtmp"`
	FLV    string `json:"flv"`
	HLS    string `json:"hls"`
}

// seat is one picture of the mix: whose, and which of the user's two.
type seat struct {
	User   string       `json:"user"`
	Source media.Source `json:"source"`
}

// box is a rectangle of the picture, in shares of it.
type box struct{ x, y, w, h float64 }

// layouts are the plans that the page offers, for n people from 1 on.
var layouts = map[string]func(n int) []box{
	"grid":    grid,
	"speaker": speaker,
	"side":    side,
}

// grid gives everyone the same cell of the smallest square that holds them.
func grid(n int) []box {
	columns := int(math.Ceil(math.Sqrt(float64(n))))
	rows := (n + columns - 1) / columns
	w, h := 1/float64(columns), 1/float64(rows)
	boxes := make([]box, n)
	for i := range boxes {
		boxes[i] = box{float64(i%columns) * w, float64(i/columns) * h, w, h}
	}
	return boxes
}

// speaker shows the first large and the others in a column at its right.
func speaker(n int) []box {
	if n == 1 {
		return grid(1)
	}
	boxes := []box{{0, 0, 0.75, 1}}
	h := 1 / float64(max(4, n-1)) // a quarter of the height at most, as wide as it is high
	for i := range n - 1 {
		boxes = append(boxes, box{0.75, float64(i) * h, 0.25, h})
	}
	return boxes
}

// side puts everyone in one row at mid height, uncut for pictures of the
// canvas's own shape.
func side(n int) []box {
	w := 1 / float64(n)
	boxes := make([]box, n)
	for i := range boxes {
		boxes[i] = box{float64(i) * w, (1 - w) / 2, w, w}
	}
	return boxes
}

// maxSeats is the number of panes that ARTC's SEI can tell apart (paneid 0 to 8).
const maxSeats = 9

func (d *Demo) getMix(w http.ResponseWriter, r *http.Request) {
	mix, err := d.mixState(r, r.FormValue("channel"))
	if err != nil {
		signaling.WriteProblem(w, http.StatusBadGateway, err.Error())
		return
	}
	writeJSON(w, map[string]any{"mix": mix})
}

// postMix starts the channel's mix, or changes its layout while it runs.
func (d *Demo) postMix(w http.ResponseWriter, r *http.Request) {
	var in struct {
		Channel, Layout string
		Users           []seat // who is shown, the most important first; empty: everyone who publishes
	}
	if !readJSON(w, r, &in) {
		return
	}
	plan := layouts[in.Layout]
	if plan == nil || !media.IsID(in.Channel, media.MaxID) {
		signaling.WriteProblem(w, http.StatusBadRequest, "channel is 1 to 64 letters, digits, _ or -; layout is grid, speaker or side.")
		return
	}
	seats := in.Users
	if len(seats) == 0 {
		seats = d.everyone(in.Channel)
	}
	if len(seats) == 0 {
		signaling.WriteProblem(w, http.StatusConflict, "Nobody in this channel sends a picture yet.")
		return
	}
	seats = seats[:min(len(seats), maxSeats)]
	pushURL, err := d.mix(r.Context(), in.Channel, seats, plan(len(seats)))
	if err != nil {
		signaling.WriteProblem(w, http.StatusBadGateway, err.Error())
		return
	}
	d.setLayout(in.Channel, in.Layout)
	writeJSON(w, map[string]any{"mix": d.describe(r, in.Channel, pushURL, in.Layout)})
}

func (d *Demo) deleteMix(w http.ResponseWriter, r *http.Request) {
	channel := r.FormValue("channel")
	err := d.call(r.Context(), "StopLiveMPUTask", url.Values{"AppId": {d.cfg.App}, "TaskId": {taskID(channel)}}, nil)
	d.setLayout(channel, "")
	if err != nil {
		signaling.WriteProblem(w, http.StatusBadGateway, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// everyone lists the pictures that are published in a channel, in join order.
func (d *Demo) everyone(channel string) []seat {
	c, ok := d.cfg.Channels.Channel(d.cfg.App, channel)
	if !ok {
		return nil
	}
	var seats []seat
	for _, u := range c.Users() {
		if u.Video != nil || u.Audio != nil {
			seats = append(seats, seat{u.ID, media.Camera})
		}
		if u.Screen != nil {
			seats = append(seats, seat{u.ID, media.ShareScreen})
		}
	}
	return seats
}

// mix starts the task, or updates it when it runs already, and says where it
// pushes to.
func (d *Demo) mix(ctx context.Context, channel string, seats []seat, boxes []box) (pushURL string, err error) {
	params := url.Values{
		"AppId":           {d.cfg.App},
		"ChannelId":       {channel},
		"TaskId":          {taskID(channel)},
		"MixMode":         {"1"},
		"TranscodeParams": {transcodeParams(seats, boxes)},
		"SeiParams":       {`{"LayoutVolume":{"FollowIdr":"1","Interval":"1000"}}`},
	}
	pushURL, err = d.running(ctx, channel)
	if err != nil {
		return "", err
	}
	if pushURL != "" {
		params.Set("StreamURL", pushURL)
		return pushURL, d.call(ctx, "UpdateLiveMPUTask", params, nil)
	}
	pushURL = d.cfg.OriginRTMP + "/live/" + d.cfg.App + "_" + channel + "_mix"
	params.Set("StreamURL", pushURL)
	err = d.call(ctx, "StartLiveMPUTask", params, nil)
	var r *refusal
	if errors.As(err, &r) && r.Code == "InvalidParam" {
		// An address rests for ten seconds after a stop: who starts again sooner gets another one.
		pushURL += "-" + strings.ToLower(rand.Text()[:4])
		params.Set("StreamURL", pushURL)
		err = d.call(ctx, "StartLiveMPUTask", params, nil)
	}
	return pushURL, err
}

// transcodeParams writes the mix as the OpenAPI wants it: JSON whose leaves are
// all strings.
func transcodeParams(seats []seat, boxes []box) string {
	type object = map[string]any
	var users, panes []object
	for i, s := range seats {
		share := func(v float64) string { return strconv.FormatFloat(v, 'f', 4, 64) }
		users = append(users, object{"UserId": s.User, "StreamType": "0", "SourceType": string(s.Source)})
		panes = append(panes, object{
			"X": share(boxes[i].x), "Y": share(boxes[i].y), "Width": share(boxes[i].w), "Height": share(boxes[i].h),
			"ZOrder": "1", "RenderMode": renderMode(s), "UserInfo": object{"UserId": s.User, "SourceType": string(s.Source)},
		})
	}
	text, err := json.Marshal(object{
		"UserInfos": users,
		"Layout":    object{"UserPanes": panes},
		"EncodeParams": object{
			"AudioOnly": "false", "AudioBitrate": "96", "AudioSampleRate": "48000", "AudioChannels": "2",
			"VideoWidth": "1280", "VideoHeight": "720", "VideoFramerate": "25", "VideoBitrate": "2000",
			"VideoGop": "25", // a new viewer waits at most a second
		},
	})
	if err != nil {
		panic("web: a layout cannot be written as JSON: " + err.Error()) // strings only
	}
	return string(text)
}

// renderMode fills the pane with a face, and shows a screen uncut.
func renderMode(s seat) string {
	if s.Source == media.ShareScreen {
		return "0"
	}
	return "1"
}

// taskID stays within 55 characters whatever the channel is called.
func taskID(channel string) string {
	sum := sha256.Sum256([]byte(channel))
	return "demo-" + hex.EncodeToString(sum[:16])
}

// mixState asks braid whether the channel's mix runs: it may have ended by
// itself, or have outlived a restart of this page's backend. nil: it does not.
func (d *Demo) mixState(r *http.Request, channel string) (*mixJSON, error) {
	pushURL, err := d.running(r.Context(), channel)
	if err != nil || pushURL == "" {
		return nil, err
	}
	d.mu.Lock()
	layout := cmp.Or(d.layouts[channel], "grid")
	d.mu.Unlock()
	return d.describe(r, channel, pushURL, layout), nil
}

// running gives the address that the channel's mix is pushed to; "" when there is none.
func (d *Demo) running(ctx context.Context, channel string) (pushURL string, err error) {
	var out struct{ MPUTasks []struct{ StreamURL string } }
	err = d.call(ctx, "ListRtcMPUTaskDetail", url.Values{"AppId": {d.cfg.App}, "TaskId": {taskID(channel)}}, &out)
	if err != nil || len(out.MPUTasks) == 0 {
		return "", err
	}
	return out.MPUTasks[0].StreamURL, nil
}

// describe gives the addresses under which a mix is played.
func (d *Demo) describe(r *http.Request, channel, pushURL, layout string) *mixJSON {
	name := strings.TrimPrefix(pushURL, d.cfg.OriginRTMP)
	address := func(base, ending string) string {
		return d.cfg.SignPlay(r.Context(), reachable(base, r.Host)+name+ending)
	}
	return &mixJSON{
		Layout: layout,
		Task:   taskID(channel),
		RTMP:   address(d.cfg.OriginRTMP, ""),
		FLV:    address(d.cfg.OriginHTTP, ".flv"),
		HLS:    address(d.cfg.OriginHTTP, ".m3u8"),
	}
}

// reachable puts the page's own host name in place of a loopback address: the
// server reaches its origin there, the visitor does not.
func reachable(base, pageHost string) string {
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return base
	}
	ip := net.ParseIP(u.Hostname())
	if ip == nil || !(ip.IsLoopback() || ip.IsUnspecified()) {
		return base
	}
	host := (&url.URL{Host: pageHost}).Hostname()
	if u.Port() == "" {
		u.Host = host
	} else {
		u.Host = net.JoinHostPort(host, u.Port())
	}
	return u.String()
}

func (d *Demo) mixChanged() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.changed
}

// setLayout remembers what a mix looks like and wakes the event streams; an
// empty layout forgets it.
func (d *Demo) setLayout(channel, layout string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if layout == "" {
		delete(d.layouts, channel)
	} else {
		d.layouts[channel] = layout
	}
	close(d.changed)
	d.changed = make(chan struct{})
}

// call sends one signed OpenAPI request and decodes the answer into out, which
// may be nil. An error carries the API's own words.
func (d *Demo) call(ctx context.Context, action string, params url.Values, out any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://braid.invalid/?"+params.Encode(), http.NoBody)
	if err != nil {
		return fmt.Errorf("demo: call %s: %w", action, err)
	}
	req.Header.Set("x-acs-action", action)
	if err := artc.Sign(req, d.cfg.AccessKeyID, d.cfg.AccessKeySecret, time.Now(), rand.Text()); err != nil {
		return fmt.Errorf("demo: call %s: %w", action, err)
	}
	answer := recorder{header: http.Header{}, status: http.StatusOK}
	d.cfg.API.ServeHTTP(&answer, req)
	if answer.status != http.StatusOK {
		no := &refusal{action: action, Message: http.StatusText(answer.status)}
		json.Unmarshal(answer.body.Bytes(), no) // without JSON the status has to do
		return no
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer.body.Bytes(), out); err != nil {
		return fmt.Errorf("demo: read the answer of %s: %w", action, err)
	}
	return nil
}

// refusal is an OpenAPI error.
type refusal struct {
	action        string
	Code, Message string
}

func (r *refusal) Error() string { return r.action + ": " + r.Message + " (" + r.Code + ")" }

// recorder keeps the answer of a handler that is called in process.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(b []byte) (int, error) { return r.body.Write(b) }
