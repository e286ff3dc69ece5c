package metrics

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"braid/event"
	"braid/media"
	"braid/media/sfu"
)

// calls is who is in the channels.
func (c *collector) calls() {
	channels := c.desc("channels", "Open channels.", "app")
	users := c.desc("users", "Users in channels, by what they may do.", "app", "role")
	tracks := c.desc("tracks", "Published tracks.", "app", "kind", "codec")
	receiving := c.desc("receiving_users", "Users that receive media, by kind.", "app", "kind")
	p := c.parts
	c.see(func(_ context.Context, out chan<- prometheus.Metric) {
		for app, n := range countCalls(p.SFU.Snapshot()) {
			gauge(out, channels, float64(n.channels), app)
			for _, role := range []event.Role{event.Streamer, event.Viewer} {
				gauge(out, users, float64(n.users[role]), app, roleName(role))
			}
			for t, count := range n.tracks {
				gauge(out, tracks, float64(count), app, t.kind, t.codec)
			}
			gauge(out, receiving, float64(n.audio), app, "audio")
			gauge(out, receiving, float64(n.video), app, "video")
		}
	})
}

// trackKind is what a track is told apart by.
type trackKind struct{ kind, codec string }

// calling is what there is of one application.
type calling struct {
	channels     int
	users        map[event.Role]int
	tracks       map[trackKind]int
	audio, video int // users that receive it
}

func countCalls(all []sfu.ChannelInfo) map[string]*calling {
	apps := map[string]*calling{}
	for _, ch := range all {
		n := apps[ch.App]
		if n == nil {
			n = &calling{users: map[event.Role]int{}, tracks: map[trackKind]int{}}
			apps[ch.App] = n
		}
		n.channels++
		for _, u := range ch.Users {
			n.users[u.Role]++
			for _, codec := range []media.Codec{u.Audio, u.Video, u.Screen, u.ScreenAudio} {
				if codec != "" {
					n.tracks[trackKind{kindOf(codec), strings.ToLower(string(codec))}]++
				}
			}
			if u.Receives.Audio {
				n.audio++
			}
			if u.Receives.Video {
				n.video++
			}
		}
	}
	return apps
}

func roleName(r event.Role) string {
	if r == event.Streamer {
		return "streamer"
	}
	return "viewer"
}

func kindOf(c media.Codec) string {
	if c.Video() {
		return "video"
	}
	return "audio"
}
