package relay

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strings"

	"braid/media"
)

// maxTask bounds a task id, in characters (artc-api.md section 4.2).
const maxTask = 55

// The automatic mix (braid's own).
var autoEncode = Encode{
	AudioKbps: 128, SampleRate: 48000, Channels: 2,
	Width: 1280, Height: 720, FPS: 25, VideoKbps: 1500, GOP: 50,
}

// streamBase is where an application's streams go: rtmp://host/AppName.
func streamBase(origin, appName string) string {
	return strings.TrimRight(origin, "/") + "/" + url.PathEscape(cmp.Or(appName, "live"))
}

// specs are the tasks that an application wants in a channel: for each user's
// camera, for its sound where alone says that there is nothing else, for its
// screen, and for the channel's mix as soon as anybody publishes.
func (w *wish) specs(channel string, users []*media.User, alone func(user string) bool) []*Spec {
	var all []*Spec
	publishing := false
	for _, u := range users {
		publishing = publishing || u.Publishing()
		if !w.settings.Single {
			continue
		}
		switch {
		case u.Video != nil:
			all = append(all, w.single(channel, u.ID, "cam_", "_camera", UserRef{User: u.ID, Type: Original, Source: media.Camera}))
		case u.Audio != nil && alone(u.ID):
			all = append(all, w.single(channel, u.ID, "aud_", "_audio", UserRef{User: u.ID, Type: AudioOnly, Source: media.Camera}))
		}
		if u.Screen != nil {
			ref := UserRef{User: u.ID, Type: VideoOnly, Source: media.ShareScreen}
			if u.ScreenAudio != nil {
				ref.Type = Original
			}
			all = append(all, w.single(channel, u.ID, "scr_", "_shareScreen", ref))
		}
	}
	if w.settings.Mix && publishing {
		mix := w.spec(channel, "mix_", channel, "_mix")
		mix.Mode, mix.Panes, mix.Encode = Mix, autoPanes(users), autoEncode
		all = append(all, mix)
	}
	return all
}

func (w *wish) single(channel, user, prefix, suffix string, from UserRef) *Spec {
	s := w.spec(channel, prefix, channel+"/"+user, "_"+user+suffix)
	s.Mode, s.From = Single, from
	return s
}

// spec is a task whose id is made of what it is about, and whose stream's name
// is {AppID}_{ChannelID} and the suffix (artc-api.md section 8; _shareScreen and
// _mix are braid's own).
func (w *wish) spec(channel, prefix, about, suffix string) *Spec {
	to := w.base + "/" + url.PathEscape(w.app+"_"+channel+suffix)
	return &Spec{
		App: w.app, Channel: channel, Task: autoTask(prefix, about),
		URLs: []string{to}, SEI: w.sei(), Auto: &Auto{URL: to, Domain: w.settings.Domain},
	}
}

// autoTask is a task id: the channel's name where it fits, else a hash of what
// the task is about (channel and user cannot hold a slash).
func autoTask(prefix, about string) string {
	if !strings.Contains(about, "/") && len(prefix)+len(about) <= maxTask {
		return prefix + about
	}
	sum := sha256.Sum256([]byte(about))
	return prefix + hex.EncodeToString(sum[:])[:maxTask-len(prefix)]
}

func (w *wish) sei() *SEI {
	every, idr := w.settings.SEIInterval, w.settings.SEIFollowIDR
	if every == 0 && !idr {
		return nil
	}
	return &SEI{PayloadType: defaultPayload, Layout: &SEIRule{FollowIDR: idr, Interval: every}}
}
