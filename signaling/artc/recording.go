package artc

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"braid/callback"
	"braid/media"
	"braid/origin/record"
	"braid/relay"
)

// CloudRecording is what StartRtcCloudRecording asks for (artc-api.md section 9).
type CloudRecording struct {
	App, Channel string
	Mix          bool            // one picture of all users; else each of them alone
	Users        []relay.UserRef // at least one
	MaxFile      time.Duration   // of one file
	MaxIdle      time.Duration

	Encode     relay.Encode // Mix
	Panes      []relay.Pane
	Background *relay.Image

	Bucket, Endpoint string      // OSSParams
	Files            []CloudFile // at least one, each Format once

	NotifyURL     string   // told what happens; "": nobody is
	NotifyKey     string   `json:"-"` // signs that; kept where it is used alone
	NotifyFormats []string // whose files RecordFileUploaded tells of; empty: all
}

// CloudFile is one form in which the streams are recorded.
type CloudFile struct {
	Format  string   // MP4, HLS, MP3
	Prefix  []string // directories of the files
	Pattern string   // of their names, in ARTC's variables

	Slice        time.Duration // of HLS
	SlicePattern string        // of its slices' names
}

// CloudFiles are the names of files that are whole, the oldest first, by format.
type CloudFiles struct{ MP4, HLS, MP3 []string }

// CloudRecordings makes them. All methods are called from many goroutines; a
// CloudRecording that was handed over, or is returned, is not changed afterwards.
type CloudRecordings interface {
	// Start begins a recording and names it. media.ErrNotFound: no user is in the
	// channel; media.ErrLimit: a quota is used up; media.ErrInvalid: the words say why.
	Start(ctx context.Context, c *CloudRecording) (task string, err error)
	// Get is what a recording was started, or last updated, with; media.ErrNotFound.
	Get(task string) (*CloudRecording, error)
	// Update gives it other users and another layout. media.ErrNotFound: it is not
	// there or has ended; media.ErrInvalid.
	Update(ctx context.Context, task string, c *CloudRecording) error
	// Stop ends it; its files stay. media.ErrNotFound: it is not there.
	Stop(ctx context.Context, task string) error
	// Files are the finished files, and how the recording is: RUNNING, STOPPING or
	// STOPPED. media.ErrNotFound.
	Files(task string) (files CloudFiles, status string, err error)
}

// Limits of section 9; those of the names are braid's own.
const (
	maxRecorded     = 17
	maxPrefixes     = 8
	maxNamePattern  = 255
	defaultFileName = "{AppId}_{ChannelId}_{UserId}_{StartTime}_{Sequence}" // own
)

// cloudFormats are the values of Format (section 9).
var cloudFormats = []string{"MP4", "HLS", "MP3"}

func (h *Handler) startRecording(c *call) (reply, error) {
	if h.cfg.Recordings == nil {
		return notYet(recording, "AppId", "ChannelId", "RecordParams", "SubscribeParams", "StorageParams")(h, c)
	}
	r := &CloudRecording{App: h.app(c), Channel: c.needID("ChannelId", maxID), MaxIdle: 300 * time.Second}
	params, ok := c.object("RecordParams")
	if !ok {
		c.missing("RecordParams")
	}
	r.Mix = recordMode(params) == "1"
	r.MaxFile = time.Duration(params.wholeOr("MaxFileDuration", 7200, 180, 7200)) * time.Second
	kind := params.choice("StreamType", "0", "0", "1", "2")
	if r.Mix && kind == "2" {
		params.invalid("StreamType", "a mix without sound is not recorded: 0 is sound and pictures, 1 is sound")
	}
	if n, ok := c.whole("MaxIdleTime", 10, 14400); ok {
		r.MaxIdle = time.Duration(n) * time.Second
	}
	recordedUsers(c.fields, r, kind)
	unsupported := storageParams(c.fields, r)
	if kind == "2" && slices.ContainsFunc(r.Files, func(f CloudFile) bool { return f.Format == "MP3" }) {
		params.invalid("StreamType", "2 is pictures alone, and StorageParams.FileInfo asks for MP3, which is sound alone")
	}
	if r.Mix {
		r.Encode = recordedForm(c.fields, kind == "1")
		recordedLayout(c.fields, r)
	}
	notifyParams(c.fields, r)
	switch {
	case c.err() != nil:
		return nil, c.err()
	case unsupported != "":
		return nil, notSupported(unsupported)
	}
	if err := h.enabled(c.ctx(), r.App); err != nil {
		return nil, err
	}
	task, err := h.cfg.Recordings.Start(c.ctx(), r)
	if err != nil {
		return nil, serviceError(err, channelNotExist(r.Channel, ": no user is in it"))
	}
	return reply{"TaskId": task}, nil
}

// notifyParams reads who is told of the recording.
func notifyParams(f *fields, r *CloudRecording) {
	r.NotifyURL, r.NotifyKey = f.text("NotifyUrl", 2048), f.text("NotifyAuthKey", 64)
	if r.NotifyURL != "" {
		if err := callback.CheckNotify(r.NotifyURL, r.NotifyKey); err != nil {
			field, why, _ := strings.Cut(words(err, media.ErrInvalid), ": ")
			f.invalid(field, "%s", why)
		}
	}
	r.NotifyFormats = f.texts("NotifyFileUploadedFormat", 8)
	for _, format := range r.NotifyFormats {
		if !slices.Contains(cloudFormats, format) {
			f.invalid("NotifyFileUploadedFormat", "%s is not one of %s", quote(format), strings.Join(cloudFormats, ", "))
		}
	}
}

func recordMode(f *fields) string {
	mode := f.choice("RecordMode", "", "0", "1")
	if mode == "" {
		f.missing("RecordMode")
	}
	return mode
}

// recordedUsers reads SubscribeParams; kind is what the recording as a whole takes.
func recordedUsers(f *fields, r *CloudRecording, kind string) {
	o, ok := f.object("SubscribeParams")
	if !ok {
		f.missing("SubscribeParams")
		return
	}
	list := o.list("SubscribeUserIdList", maxRecorded)
	if len(list) == 0 {
		o.missing("SubscribeUserIdList")
	}
	r.Users = nil
	for _, u := range list {
		ref := relay.UserRef{User: u.needID("UserId", maxID), Source: recordedSource(u)}
		own := u.choice("StreamType", "0", "0", "1", "2")
		if own == "2" && !r.Mix {
			u.invalid("StreamType", "2 (pictures alone) is for RecordMode 1")
		}
		if kind != "0" {
			own = kind
		}
		ref.Type = relay.StreamType(own[0] - '0')
		if ref.Type == relay.AudioOnly {
			ref.Source = media.Camera
		}
		if find(r.Users, ref) != nil {
			u.invalid("UserId", "%s is given twice with this source", quote(ref.User))
		}
		r.Users = append(r.Users, ref)
	}
}

func recordedSource(f *fields) media.Source {
	if f.choice("SourceType", "0", "0", "1") == "1" {
		return media.ShareScreen
	}
	return media.Camera
}

// storageParams reads where the files go. What it names is not there yet.
func storageParams(f *fields, r *CloudRecording) (unsupported string) {
	o, ok := f.object("StorageParams")
	if !ok {
		f.missing("StorageParams")
		return ""
	}
	if o.raw("StorageType") == "" {
		o.missing("StorageType")
	}
	oss, ok := o.object("OSSParams")
	if !ok {
		return "cloud recording into another storage than OSSParams names"
	}
	r.Bucket, r.Endpoint = ossText(oss, "OSSBucket"), ossText(oss, "OSSEndpoint")
	for _, i := range o.list("FileInfo", 8) {
		file := fileInfo(i, r)
		if slices.ContainsFunc(r.Files, func(o CloudFile) bool { return o.Format == file.Format }) {
			i.invalid("Format", "%s is given twice", file.Format)
		}
		r.Files = append(r.Files, file)
	}
	if len(r.Files) == 0 {
		r.Files = []CloudFile{{Format: "MP4", Pattern: defaultFileName}}
	}
	return ""
}

// fileInfo reads one form of files.
func fileInfo(i *fields, r *CloudRecording) CloudFile {
	file := CloudFile{Format: i.choice("Format", "", cloudFormats...), Prefix: i.texts("FilePathPrefix", maxPrefixes), Pattern: defaultFileName}
	if file.Format == "" {
		i.missing("Format")
	}
	check := func(field, pattern string) string {
		p := i.text(field, maxNamePattern)
		if p == "" {
			p = pattern
		}
		if err := record.CheckPattern(r.FileName(file.Prefix, p, "task", "user")); err != nil {
			i.invalid(field, "%s", words(err, media.ErrInvalid))
		}
		return p
	}
	file.Pattern = check("FileNamePattern", defaultFileName)
	if file.Format == "HLS" {
		file.Slice = time.Duration(i.wholeOr("SliceDuration", 30, 10, 30)) * time.Second
		file.SlicePattern = check("SliceNamePattern", defaultFileName)
	}
	return file
}

func ossText(f *fields, field string) string {
	s := f.text(field, maxNamePattern)
	if s == "" {
		f.missing(field)
	}
	return s
}

// FileName is the pattern of one user's files, or of the mix's when user is "", in
// the variables of record.Config: prefixes/TaskId/name.
func (r *CloudRecording) FileName(prefix []string, pattern, task, user string) string {
	if user == "" {
		user = "Mix"
	}
	name := strings.NewReplacer("{AppId}", r.App, "{ChannelId}", r.Channel, "{UserId}", user,
		"{StartTime}", "{start}", "{Sequence}", "{sequence}").Replace(pattern)
	return strings.Join(append(slices.Clone(prefix), task, name), "/")
}

// recordedForm reads MixTranscodeParams, whose fields are those of EncodeParams.
func recordedForm(f *fields, audioOnly bool) relay.Encode {
	o, ok := f.object("MixTranscodeParams")
	if !ok {
		f.missing("MixTranscodeParams")
		return relay.Encode{}
	}
	if audioOnly {
		o.in["AudioOnly"] = "true"
	}
	o.raw("FrameFillType") // no source says what its values mean
	return encodeParams(o)
}

// recordedLayout reads MixLayoutParams. A mix of sound alone has none.
func recordedLayout(f *fields, r *CloudRecording) {
	r.Panes, r.Background = nil, nil
	if r.Encode.AudioOnly {
		return
	}
	o, ok := f.object("MixLayoutParams")
	if !ok {
		f.missing("MixLayoutParams")
		return
	}
	list := o.list("UserPanes", maxPanes)
	if len(list) == 0 {
		o.missing("UserPanes")
	}
	var shown []relay.UserRef
	for _, p := range list {
		pane := recordedPane(p)
		if p.raw("UserId") != "" {
			u := paneUserOf(p, r.Users)
			if find(shown, u) != nil {
				p.invalid("UserId", "%s with this source is already in another pane", quote(u.User))
			}
			shown = append(shown, u)
			pane.User = &u
		}
		r.Panes = append(r.Panes, pane)
	}
	b, _ := o.object("MixBackground")
	if url := imageURL(b, "Url"); url != "" {
		r.Background = &relay.Image{URL: url, Crop: recordedCrop(b)}
	}
}

func recordedPane(f *fields) relay.Pane {
	p := relay.Pane{X: f.needShare("X", true), Y: f.needShare("Y", true), W: f.needShare("Width", false), H: f.needShare("Height", false)}
	p.ZOrder, _ = f.whole("ZOrder", 0, maxZOrder)
	b, _ := f.object("SubBackground")
	p.Background, p.Crop = imageURL(b, "Url"), recordedCrop(b)
	p.W = inside(f, "X", "Width", p.X, p.W)
	p.H = inside(f, "Y", "Height", p.Y, p.H)
	return p
}

// recordedCrop reads RenderMode of the recording actions: 0 (default) fills and
// cuts, 1 shows the whole picture with bars. The MPU actions have it the other
// way round, see crop.
func recordedCrop(f *fields) bool { return f.choice("RenderMode", "0", "0", "1") == "0" }

func paneUserOf(f *fields, users []relay.UserRef) relay.UserRef {
	u := relay.UserRef{User: f.needID("UserId", maxID), Source: recordedSource(f)}
	listed := find(users, u)
	if listed == nil {
		f.invalid("UserId", "%s with this source is not in SubscribeParams", quote(u.User))
		return u
	}
	if listed.Type == relay.AudioOnly {
		f.invalid("UserId", "%s is recorded without pictures and cannot have a pane", quote(u.User))
	}
	return *listed
}

func (h *Handler) updateRecording(c *call) (reply, error) {
	if h.cfg.Recordings == nil {
		return notYet(recording, "TaskId", "SubscribeParams")(h, c)
	}
	task, running, err := h.recordingTask(c)
	if err != nil {
		return nil, err
	}
	next := *running
	recordedUsers(c.fields, &next, "0")
	if _, ok := c.in["MixLayoutParams"]; next.Mix && ok {
		recordedLayout(c.fields, &next)
	}
	if err := c.err(); err != nil {
		return nil, err
	}
	if err := h.cfg.Recordings.Update(c.ctx(), task, &next); err != nil {
		return nil, serviceError(err, taskNotExist(task))
	}
	return reply{"TaskId": task}, nil
}

// recordingTask finds the recording that a request is about. It has no AppId:
// a recording's name is no secret, and no key is for one application.
func (h *Handler) recordingTask(c *call) (string, *CloudRecording, error) {
	task := c.needID("TaskId", maxTaskID)
	if err := c.err(); err != nil {
		return "", nil, err
	}
	r, err := h.cfg.Recordings.Get(task)
	return task, r, serviceError(err, taskNotExist(task))
}

func (h *Handler) stopRecording(c *call) (reply, error) {
	if h.cfg.Recordings == nil {
		return notYet(recording, "TaskId")(h, c)
	}
	task, _, err := h.recordingTask(c)
	if err != nil {
		return nil, err
	}
	if err := h.cfg.Recordings.Stop(c.ctx(), task); err != nil && !errors.Is(err, media.ErrNotFound) {
		return nil, err
	}
	return reply{"TaskId": task}, nil
}

func (h *Handler) describeRecording(c *call) (reply, error) {
	if h.cfg.Recordings == nil {
		return notYet(recording, "TaskId")(h, c)
	}
	task, _, err := h.recordingTask(c)
	if err != nil {
		return nil, err
	}
	files, status, err := h.cfg.Recordings.Files(task)
	if err != nil {
		return nil, serviceError(err, taskNotExist(task))
	}
	whole := func(names []string) []string { return append([]string{}, names...) }
	list := reply{"Mp4FileList": whole(files.MP4), "HlsFileList": whole(files.HLS), "Mp3FileList": whole(files.MP3), "VodMediaList": []reply{}}
	return reply{"TaskInfo": reply{"TaskId": task, "Status": status, "RecordFileList": list}}, nil
}
