package main

import (
	"slices"

	"braid/media"
	"braid/mixer"
	"braid/mixer/wire"
	records "braid/origin/record"
)

const (
	// mp3Worker is the worker of all: what it decodes, braid's own encoder has made.
	mp3Worker = "sound as MP3"
	// mp3Held is what waits for the worker while it starts: five seconds of most AAC,
	// and no more than it takes at once.
	mp3Held = 240
)

// mp3Coder is a transcode that waits for its worker. For one goroutine.
type mp3Coder struct {
	*mixer.Transcode
	held []*media.AccessUnit
}

// openMP3 has the worker make MP3; kbps 0: 64 for each channel.
func openMP3(pool *mixer.Pool, s records.Sound, kbps int) records.Coder {
	return &mp3Coder{Transcode: pool.NewTranscode(mixer.TranscodeConfig{
		Worker: mp3Worker, Codec: s.Codec, Config: s.Config,
		Encode:  wire.Encode{Sound: media.MP3, SampleRate: 48000, Channels: s.Channels, AudioKbps: kbps},
		NeedKey: func() {}, Failed: s.Failed,
		Emit: func(au *media.AccessUnit, _, _ uint8) { s.Emit(au) },
	})}
}

// Write implements records.Coder. Of what waits the oldest is lost when it is too much.
func (c *mp3Coder) Write(au *media.AccessUnit) {
	c.held = append(c.held, au)
	if !c.Up() {
		c.held = slices.Delete(c.held, 0, max(0, len(c.held)-mp3Held))
		return
	}
	for _, au := range c.held {
		c.Transcode.Write(au, false)
	}
	c.held = c.held[:0]
}
