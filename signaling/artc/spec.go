package artc

import (
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"braid/media"
	"braid/relay"
)

// Limits of a task's parameters (artc-api.md section 4.2). Those marked own
// are braid's own: no source states one.
const (
	maxID        = 64
	maxTaskID    = 55
	maxURL       = 2048 // characters
	maxURLs      = 10   // own
	maxPanes     = 16   // own: the SEI pages number panes 0 to 8, the older product allows 16
	maxZOrder    = 99
	maxUserInfos = 50   // own: the product's overview names 50 speakers
	maxContent   = 4096 // characters; documented for CustomSei, own for PassThrough
	maxKey       = 64   // own
	minSide      = 16   // own: pixels; the smallest picture that is encoded

	// overshoot is how far a pane may stick out of the canvas before it is an
	// error: layouts in use are rounded a little beyond it (0.5018382 + 0.5).
	// Such a pane is cut at the border. Braid's own.
	overshoot = 0.002
)

// taskSpec reads the parameters of StartLiveMPUTask, or of UpdateLiveMPUTask,
// which are the same without MaxIdleTime, Region and SeiParams.PayloadType
// (section 4.1). The result is worthless when f.err is set.
func taskSpec(f *fields, app string, start bool) *relay.Spec {
	s := &relay.Spec{App: app, Channel: f.needID("ChannelId", maxID), Task: f.needID("TaskId", maxTaskID)}
	if start {
		if n, ok := f.whole("MaxIdleTime", 10, 86400); ok {
			s.MaxIdle = time.Duration(n) * time.Second
		}
		f.text("Region", maxID) // there is one region; it is only echoed
	}
	s.URLs = streamURLs(f)
	if f.choice("MixMode", "1", "0", "1") == "0" {
		s.Mode = relay.Single
		s.From = singleUser(f)
	} else {
		s.Mode = relay.Mix
		mixParams(f, s)
	}
	s.SEI = seiParams(f, start)
	s.Echo = f.echo
	return s
}

// streamURLs reads exactly one of StreamURL and MultiStreamURL. IsAliCdn is
// checked, echoed and has no meaning here.
func streamURLs(f *fields) []string {
	one := f.text("StreamURL", maxURL)
	many := f.list("MultiStreamURL", maxURLs)
	switch {
	case one != "" && len(many) > 0:
		f.invalid("StreamURL", "give either StreamURL or MultiStreamURL, not both")
	case one != "":
		checkURL(f, "StreamURL", one)
		return []string{one}
	case len(many) == 0:
		f.missing("StreamURL or MultiStreamURL")
	}
	var urls []string
	for _, m := range many {
		u := m.text("URL", maxURL)
		if u == "" {
			m.missing("URL")
		}
		checkURL(m, "URL", u)
		if slices.Contains(urls, u) {
			m.invalid("URL", "is given twice")
		}
		m.echo["IsAliCdn"] = m.flag("IsAliCdn") // the one leaf that is not a text in the response
		urls = append(urls, u)
	}
	return urls
}

// checkURL takes what a push can go to. An srt URL may hold a passphrase: it is not
// repeated.
func checkURL(f *fields, field, s string) {
	if strings.HasPrefix(strings.ToLower(s), "srt:") {
		if err := relay.CheckURL(s); err != nil {
			f.invalid(field, "%s", strings.TrimPrefix(err.Error(), "srt: "))
		}
		return
	}
	u, err := url.Parse(s)
	if err != nil || strings.ContainsAny(s, " \t") {
		f.invalid(field, "%s is not a URL", quote(s))
		return
	}
	if u.Scheme != "rtmp" && u.Scheme != "rtmps" || u.Hostname() == "" {
		f.invalid(field, "%s is not an rtmp://, rtmps:// or srt:// URL with a host", quote(s))
		return
	}
	if port, err := strconv.Atoi(u.Port()); u.Port() != "" && (err != nil || port < 1 || port > 65535) {
		f.invalid(field, "%s has a port that is not from 1 to 65535", quote(s))
		return
	}
	app, stream, ok := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !ok || app == "" || strings.Trim(stream, "/") == "" {
		f.invalid(field, "%s does not name an app and a stream, as rtmp://host/app/stream does", quote(s))
	}
}

// singleUser reads SingleSubParams. SourceType counts for video alone; V1's
// MixAudioUserIds (section 4.4) is not looked at.
func singleUser(f *fields) relay.UserRef {
	o, ok := f.object("SingleSubParams")
	if !ok {
		f.missing("SingleSubParams")
	}
	u := relay.UserRef{User: o.needID("UserId", maxID), Type: streamType(o), Source: source(o)}
	if u.Type != relay.VideoOnly {
		u.Source = media.Camera
	}
	return u
}

func streamType(f *fields) relay.StreamType {
	return relay.StreamType(f.choice("StreamType", "0", "0", "1", "2")[0] - '0')
}

func source(f *fields) media.Source {
	const camera, screen = string(media.Camera), string(media.ShareScreen)
	return media.Source(f.choice("SourceType", camera, camera, screen))
}

// mixParams reads TranscodeParams into s. An audio-only mix has no panes and
// no background: they are not looked at.
func mixParams(f *fields, s *relay.Spec) {
	o, ok := f.object("TranscodeParams")
	if !ok {
		f.missing("TranscodeParams")
	}
	s.Users = userInfos(o, s.Channel)
	e, _ := o.object("EncodeParams")
	s.Encode = encodeParams(e)
	if s.Encode.AudioOnly {
		return
	}
	s.Panes = userPanes(o, s.Channel, s.Users)
	s.Background = background(o)
}

// userInfos reads who takes part; a user may be there once for each source.
func userInfos(f *fields, channel string) []relay.UserRef {
	var users []relay.UserRef
	for _, o := range f.list("UserInfos", maxUserInfos) {
		u := userRef(o, channel)
		u.Type = streamType(o)
		if find(users, u) != nil {
			o.invalid("UserId", "%s with source %s is given twice", quote(u.User), u.Source)
		}
		users = append(users, u)
	}
	return users
}

// userRef reads a user; one in the task's own channel has an empty Channel.
func userRef(f *fields, channel string) relay.UserRef {
	u := relay.UserRef{User: f.needID("UserId", maxID), Channel: f.id("ChannelId", maxID), Source: source(f)}
	if u.Channel == channel {
		u.Channel = ""
	}
	return u
}

// find returns the entry of the same user, channel and source, or nil.
func find(users []relay.UserRef, u relay.UserRef) *relay.UserRef {
	for i, o := range users {
		if o.User == u.User && o.Channel == u.Channel && o.Source == u.Source {
			return &users[i]
		}
	}
	return nil
}

// userPanes reads Layout. V1's LayoutMode and MaxVideoUser (section 4.4) are not looked at.
func userPanes(f *fields, channel string, users []relay.UserRef) []relay.Pane {
	layout, _ := f.object("Layout")
	list := layout.list("UserPanes", maxPanes)
	if len(list) == 0 {
		layout.missing("UserPanes")
	}
	var panes []relay.Pane
	var shown []relay.UserRef
	for _, o := range list {
		p := pane(o)
		if info, ok := o.object("UserInfo"); ok {
			u := paneUser(info, channel, users)
			if find(shown, u) != nil {
				info.invalid("UserId", "%s with source %s is already in another pane", quote(u.User), u.Source)
			}
			shown = append(shown, u)
			p.User = &u
		}
		panes = append(panes, p)
	}
	return panes
}

// paneUser reads a pane's user, who must be one of users when there are any.
func paneUser(f *fields, channel string, users []relay.UserRef) relay.UserRef {
	u := userRef(f, channel)
	if len(users) == 0 {
		return u
	}
	listed := find(users, u)
	if listed == nil {
		f.invalid("UserId", "%s with source %s is not in TranscodeParams.UserInfos", quote(u.User), u.Source)
		return u
	}
	if listed.Type == relay.AudioOnly {
		f.invalid("UserId", "%s has StreamType 1 (audio only) and cannot have a pane", quote(u.User))
	}
	return *listed
}

func pane(f *fields) relay.Pane {
	p := relay.Pane{
		X: f.needShare("X", true), Y: f.needShare("Y", true),
		W: f.needShare("Width", false), H: f.needShare("Height", false),
		Crop: crop(f),
	}
	p.ZOrder, _ = f.whole("ZOrder", 0, maxZOrder)
	p.Background = imageURL(f, "BackgroundImageUrl")
	p.W = inside(f, "X", "Width", p.X, p.W)
	p.H = inside(f, "Y", "Height", p.Y, p.H)
	return p
}

// inside cuts a length that ends just outside of the canvas.
func inside(f *fields, startName, lengthName string, start, length float64) float64 {
	end := start + length
	if end <= 1 {
		return length
	}
	if end > 1+overshoot || start >= 1 {
		f.invalid(lengthName, "%s + %s is %.6g, more than 1", startName, lengthName, end)
	}
	return 1 - start
}

// crop reads RenderMode of the MPU actions: 0 shows the whole picture with
// bars, 1 (default) fills and cuts. Recording has it the other way round (section 9).
func crop(f *fields) bool { return f.choice("RenderMode", "1", "0", "1") == "1" }

func background(f *fields) *relay.Image {
	o, _ := f.object("Background")
	img := relay.Image{URL: imageURL(o, "URL"), Crop: crop(o)}
	if img.URL == "" {
		return nil
	}
	return &img
}

func imageURL(f *fields, field string) string {
	s := f.text(field, maxURL)
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		f.invalid(field, "%s is not an http:// or https:// URL with a host", quote(s))
	}
	return s
}

// encodeParams reads EncodeParams. x264 takes even sizes only, so an odd width
// or height is rounded down; less than a macroblock, the documented 0 included,
// leaves no picture and is refused. Both are braid's own.
func encodeParams(f *fields) relay.Encode {
	e := relay.Encode{
		AudioOnly: f.flag("AudioOnly"),
		AudioKbps: f.needWhole("AudioBitrate", 8, 500),
		Channels:  f.needWhole("AudioChannels", 1, 2),
	}
	rate := f.choice("AudioSampleRate", "", "8000", "16000", "32000", "44100", "48000")
	if rate == "" {
		f.missing("AudioSampleRate")
	}
	e.SampleRate, _ = strconv.Atoi(rate)
	if e.AudioOnly {
		return e
	}
	e.Width = f.needWhole("VideoWidth", minSide, 1920) &^ 1
	e.Height = f.needWhole("VideoHeight", minSide, 1920) &^ 1
	e.FPS = f.needWhole("VideoFramerate", 1, 60)
	e.VideoKbps = f.needWhole("VideoBitrate", 1, 10000)
	e.GOP = f.needWhole("VideoGop", 1, 60)
	if f.choice("VideoCodec", "H.264", "H.264", "H.265") == "H.265" {
		f.invalid("VideoCodec", "H.265 is not supported yet, use H.264")
	}
	e.Profile, e.Preset = enhancedParam(f)
	return e
}

var (
	profiles = []string{"", "baseline", "main", "high"}
	presets  = []string{"", "ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"}
)

// enhancedParam reads EnhancedParam, a JSON text inside the tree. All x264
// presets are accepted; how slow a one the encoder can keep up with is its own matter.
func enhancedParam(f *fields) (profile, preset string) {
	const field = "EnhancedParam"
	s := f.text(field, maxURL)
	if s == "" {
		return "", ""
	}
	var p struct {
		Profile string `json:"profile"`
		Preset  string `json:"preset"`
	}
	if err := json.Unmarshal([]byte(s), &p); err != nil {
		f.invalid(field, "%s is not a JSON object with profile and preset", quote(s))
		return "", ""
	}
	if !slices.Contains(profiles, p.Profile) {
		f.invalid(field, "profile %s is not one of %s", quote(p.Profile), strings.Join(profiles[1:], ", "))
	}
	if !slices.Contains(presets, p.Preset) {
		f.invalid(field, "preset %s is not one of %s", quote(p.Preset), strings.Join(presets[1:], ", "))
	}
	return p.Profile, p.Preset
}

// seiParams reads SeiParams; PayloadType only at the start of a task.
func seiParams(f *fields, start bool) *relay.SEI {
	o, ok := f.object("SeiParams")
	if !ok {
		return nil
	}
	s := &relay.SEI{PayloadType: 5, Key: "udd"}
	if start {
		if n, ok := o.whole("PayloadType", 100, 254); ok {
			s.PayloadType = n
		}
	}
	if l, ok := o.object("LayoutVolume"); ok {
		s.Layout = seiRule(l)
	}
	if p, ok := o.object("PassThrough"); ok {
		s.PassThrough = seiRule(p)
		s.Content = p.text("PayloadContent", maxContent)
		if key := p.text("PayloadContentKey", maxKey); key != "" {
			s.Key = key
		}
		if s.Key == "stream" {
			p.invalid("PayloadContentKey", `"stream" is the key of the layout`)
		}
	}
	return s
}

// seiRule reads when a message is repeated. The documented default of an empty
// object is "the default SEI is sent"; that this means with each IDR is
// braid's own, so that whoever joins a stream knows the layout.
func seiRule(f *fields) *relay.SEIRule {
	idr := f.choice("FollowIdr", "", "0", "1")
	ms, every := f.whole("Interval", 1000, 5000)
	return &relay.SEIRule{
		FollowIDR: idr == "1" || idr == "" && !every,
		Interval:  time.Duration(ms) * time.Millisecond,
	}
}

// keepEcho completes an update's echo with what only the start can say and
// what stays as it was.
func keepEcho(s, running *relay.Spec) {
	for _, name := range []string{"MaxIdleTime", "Region"} {
		if v, ok := running.Echo[name]; ok {
			s.Echo[name] = v
		}
	}
	old, _ := running.Echo["SeiParams"].(map[string]any)
	if sei, ok := s.Echo["SeiParams"].(map[string]any); ok && old["PayloadType"] != nil {
		sei["PayloadType"] = old["PayloadType"]
	}
}
