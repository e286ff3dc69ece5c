// Package wire is what the server and a media worker (braid-mixer) say to each
// other over a socket pair: coded media and layout changes in, access units and
// levels out. Raw pictures never cross. It starts no goroutine.
//
// A message on the wire is
//
//	length uint32 | type uint8 | body        (big endian, length counts type and body)
//
// Control messages have JSON bodies; Media and Output are binary, because they
// come with every frame, and so are those that carry files. Version is compared in Hello and Ready: a worker of
// another build is refused, not guessed at.
package wire

import (
	"time"

	"braid/media"
)

// Version changes with every change of a message.
const Version = 5

// MaxMessage bounds one message in bytes: an intra picture of 1920x1088 at any
// sane rate is far below, a background image may come near.
const MaxMessage = 16 << 20

// MaxImage bounds the file of an Image in bytes: its message has a type and an id, too.
const MaxImage = MaxMessage - 5

// Encode is what a mix or a transcode makes. Zero Width means no video, zero
// SampleRate no audio.
type Encode struct {
	Width, Height int // pixels, even
	FPS           int // 1 to 60
	VideoKbps     int
	GOP           int         // frames between key frames
	Follow        bool        // of transcodes: a key frame of the input makes one, at its very picture
	MostFPS       int         // with Follow: pictures above so many a second are left out; 0: none
	Profile       string      // baseline, main, high
	Preset        string      // x264's names
	Sound         media.Codec // AAC, also when empty, Opus or MP3
	AudioKbps     int
	SampleRate    int // Hz; Opus and MP3: 48000
	Channels      int // 1 or 2
}

// Fit says how a picture fills its pane.
type Fit string

const (
	FitInside Fit = "fit"  // whole picture, black bars
	FitCrop   Fit = "crop" // pane filled, edges cut
)

// Pane is a rectangle of the canvas in pixels and what it shows: Input's
// picture, else the Image, else black.
type Pane struct {
	X, Y, W, H int // even; inside the canvas
	Fit        Fit
	Input      uint32 // 0: none
	Image      uint32 // 0: none
}

// Layout is a whole picture's plan; Panes are in drawing order, bottom first.
// A new Layout takes effect at the next frame border, in one piece.
type Layout struct {
	Output        uint32
	Revision      uint32 // comes back in every Output made with it
	Panes         []Pane
	Background    uint32 // image id, 0: black
	BackgroundFit Fit
	Audio         []uint32 // inputs that are heard
}

// Server to worker.
type (
	// Hello opens the conversation. Elapsed is the age of the server's
	// timeline at sending: every PTS on this connection counts from its zero. It
	// is sent again after Ready, because the first one waits for the process.
	Hello struct {
		Version             int
		Elapsed             time.Duration
		MaxWidth, MaxHeight int // larger pictures are refused before decoding
	}
	// OpenInput announces coded media to come. Inputs with the same Group are
	// one person: their delay is chosen together so that lips fit words.
	OpenInput struct {
		Input uint32 // from 1
		Group uint32
		Codec media.Codec
		// Feed says that H.264 comes from a production encoder: with B-frames (PTS
		// do not rise from frame to frame), other chroma formats, 10 bits.
		Feed bool
		// Config is the AudioSpecificConfig of AAC, which only transcodes take.
		Config []byte
	}
	CloseInput struct{ Input uint32 }
	// OpenMix starts a mix that ticks by itself until CloseOutput.
	OpenMix struct {
		Output uint32 // from 1; mixes and transcodes share the numbers
		Encode Encode
	}
	// OpenTranscode turns one input into H.264, AAC, Opus or MP3 with the input's own
	// timestamps; Width and Height zero keep the input's picture size. Width zero
	// alone keeps its shape: it is made Height high, if it is higher. Outputs with
	// Follow are coded side by side, and the input waits for the slowest.
	OpenTranscode struct {
		Output uint32
		Input  uint32
		Encode Encode
	}
	CloseOutput struct{ Output uint32 }
	// KeyFrame asks an output for an IDR at its next picture.
	KeyFrame struct{ Output uint32 }
	// Image hands over a PNG or JPEG file; empty Data forgets it.
	Image struct {
		Image uint32
		Data  []byte
	}
	// Media is one coded frame of an input. Units as in media.AccessUnit.
	// Lost says that frames before it are missing.
	Media struct {
		Input uint32
		PTS   time.Duration
		Key   bool
		Lost  bool
		Units [][]byte
	}
	// Still asks for one key frame as a JPEG file: JPEG or Failed answers. It touches
	// no input and no output.
	Still struct {
		Still uint32 // the request's number
		Codec media.Codec
		Width uint16 // pixels at most; 0: the picture's own
		Units [][]byte
	}
)

// Worker to server.
type (
	Ready struct{ Version int }
	// Output is one access unit of an output.
	Output struct {
		Output   uint32
		Codec    media.Codec
		PTS      time.Duration
		Key      bool
		Revision uint32  // of the Layout that this picture shows; 0 in audio and transcodes
		Levels   []Level // of that moment, in pictures of mixes and in transcoded sound
		Units    [][]byte
	}
	// Level is how loud an input was when a picture was made.
	Level struct {
		Input uint32
		Vol   uint8 // 0 to 255
		Vad   uint8 // 0 to 150: 150 while a voice is heard, then counting down
	}
	// NeedKey says that an input cannot be decoded until its next key frame.
	NeedKey struct{ Input uint32 }
	// JPEG is the file that a Still asked for.
	JPEG struct {
		Still uint32
		Data  []byte
	}
	// Failed says in words why an input, an output, an image or a still does not
	// work (one of the ids is set). Others go on.
	Failed struct {
		Input, Output, Image, Still uint32
		Reason                      string
	}
)
