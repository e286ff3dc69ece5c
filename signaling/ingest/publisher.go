package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"braid/event"
	"braid/media"
	"braid/media/flv"
	"braid/media/sfu"
	"braid/store"
)

// publisher is one RTMP publisher in a channel. Its methods but silent, leave and
// keyFrame are called from the connection's goroutine, which owns it.
type publisher struct {
	s       *Server
	address store.Address
	log     *slog.Logger
	last    atomic.Int64 // Unix nanoseconds of the newest tag

	demux flv.Demuxer
	line  timeline
	err   error // why it was refused; nil while it goes on

	video videoIn
	sound soundIn

	leaving sync.Once
	in      *sfu.Injection // set by join
}

func newPublisher(s *Server, a store.Address, remote net.Addr) *publisher {
	p := &publisher{s: s, address: a, log: s.cfg.Log.With("app", a.App, "channel", a.Channel, "user", a.User)}
	p.last.Store(time.Now().UnixNano())
	return p
}

// join puts the user into its channel.
func (p *publisher) join() error {
	a := p.address
	in, err := p.s.cfg.SFU.Inject(sfu.InjectRequest{
		App: a.App, Channel: a.Channel, User: a.User, DisplayName: a.DisplayName,
		Audio: true, Channels: soundChannels, Video: true, KeyFrame: p.keyFrame,
	})
	switch {
	case errors.Is(err, media.ErrExists):
		return refuse("the user of this address is in the channel already", err)
	case err != nil:
		return refuse("the server cannot take more publishers now", err)
	}
	p.in = in
	worker := a.App + "/" + a.Channel
	now := time.Now()
	p.video = videoIn{pool: p.s.cfg.Mixer, worker: worker, out: newOut(media.H264, in.Video, now), log: p.log}
	p.sound = soundIn{pool: p.s.cfg.Mixer, worker: worker, out: newOut(media.Opus, in.Audio, now), log: p.log}
	return nil
}

// silent tells whether nothing came for silentAfter.
func (p *publisher) silent(now time.Time) bool {
	return now.Sub(time.Unix(0, p.last.Load())) > silentAfter
}

// Err implements rtmp.Ender.
func (p *publisher) Err() error { return p.err }

// WriteTag implements rtmp.Ingest.
func (p *publisher) WriteTag(t *flv.Tag) {
	now := time.Now()
	p.last.Store(now.UnixNano())
	if p.err != nil {
		return
	}
	select {
	case <-p.in.Done():
		p.err = refuse("the user is not in the channel any more: "+p.in.Reason(), media.ErrClosed)
		return
	default:
	}
	if t.Type == flv.Script {
		p.video.describe(t.Payload)
		return
	}
	k, err := flv.ParsePacket(t)
	if err == nil && (k.Role == flv.RoleConfig || k.Role == flv.RoleFrame) && k.Codec != media.H264 && k.Codec != media.AAC {
		p.err = refuse(unsupported(t, &k), flv.ErrUnsupported)
		return
	}
	au, err := p.demux.Demux(t)
	switch {
	case err != nil:
		p.log.Debug("ingest: tag", "error", err)
		return
	case au == nil:
		return
	}
	if err := p.take(t, au, now); err != nil {
		p.err = err
	}
}

// take passes an access unit on.
func (p *publisher) take(t *flv.Tag, au *media.AccessUnit, now time.Time) error {
	// Demux undoes the wrap of timestamps and adds the composition time.
	composition := time.Duration(int32(uint32(au.PTS/time.Millisecond)-t.Timestamp)) * time.Millisecond
	decode := au.PTS - composition
	if au.Codec == media.AAC {
		var ok bool
		if au.PTS, ok = p.line.place(soundTrack, decode, now); !ok {
			return nil
		}
		return p.sound.take(au, p.demux.AudioSpecificConfig())
	}
	if composition < -compositionMax || composition > compositionMax {
		return nil // no encoder looks that far ahead: the tag is broken
	}
	at, _ := p.line.place(videoTrack, decode, now)
	au.PTS = at + composition
	return p.video.take(au, composition)
}

// keyFrame is what viewers ask for, through the Injection.
func (p *publisher) keyFrame() { p.video.keyFrame() }

// Close implements rtmp.Ingest: the publisher has gone.
func (p *publisher) Close() {
	p.leave(event.Normal)
	p.video.close()
	p.sound.close()
	p.s.free(p)
	p.log.Info("ingest: RTMP publisher has gone", "reason", p.in.Reason())
}

// leave takes the user out of the channel, from any goroutine; what still comes
// reaches nobody.
func (p *publisher) leave(why event.Reason) {
	p.leaving.Do(func() {
		if p.in != nil {
			p.in.Close(why)
		}
	})
}

// unsupported names what a tag holds instead of H.264 or AAC.
func unsupported(t *flv.Tag, k *flv.Packet) string {
	const want = "this server takes H.264 and AAC over RTMP, not "
	switch p := t.Payload; {
	case k.FourCC != "":
		return want + fourCC(k.FourCC)
	case k.Codec == media.H265:
		return want + "HEVC"
	case t.Type == flv.Video:
		return want + fmt.Sprintf("video codec %d", p[0]&15)
	case p[0]>>4 == 2 || p[0]>>4 == 14:
		return want + "MP3"
	case p[0]>>4 == 11:
		return want + "Speex"
	default:
		return want + fmt.Sprintf("sound format %d", p[0]>>4)
	}
}

func fourCC(name string) string {
	switch name {
	case "hvc1":
		return "HEVC"
	case "av01":
		return "AV1"
	case "vp09":
		return "VP9"
	case "Opus":
		return "Opus"
	default:
		return fmt.Sprintf("%q", name)
	}
}
