package record

import (
	"encoding/json"
	"slices"
	"time"

	"braid/media"
	"braid/origin/storage"
)

// State is how far a file has come.
type State string

const (
	Open State = "open" // it is being written
	Done State = "done" // whole, on this machine; it waits to be uploaded when it has a Storage
	Kept State = "kept" // whole, and where it is kept
	gone State = "gone" // only in the index's log: there is no such file any more
)

// File is one file that a recording made. Of an open one, List and Get give the
// Duration and Size of what is written so far.
type File struct {
	ID        string `json:"id"`
	Recording string `json:"recording"` // one for each Run
	Sequence  int    `json:"sequence"`  // in the recording, from 1; both formats of a piece have the same
	State     State  `json:"state"`

	Domain   string    `json:"domain,omitempty"`
	App      string    `json:"app"`
	Stream   string    `json:"stream"`
	Since    time.Time `json:"since,omitzero"` // when the stream came on air
	Owner    string    `json:"owner,omitempty"`
	Template string    `json:"template,omitempty"`

	Name    string `json:"name"`              // with slashes; what it is kept under
	Storage string `json:"storage,omitempty"` // name of the storage that it belongs to; "": the index's directory
	Format  string `json:"format"`            // FMP4, TS, HLS or MP3

	Playlist string `json:"playlist,omitempty"` // id of the HLS file whose slice it is; it goes with that
	Slice    int    `json:"slice,omitempty"`    // number in the playlist, from 1

	Begin    time.Time   `json:"begin"`        // when its first picture or sound arrived
	End      time.Time   `json:"end,omitzero"` // Begin and Duration; zero while it is open
	Duration Millis      `json:"duration"`     // of what can be played
	Size     int64       `json:"size"`         // bytes; of HLS with its slices
	Video    media.Codec `json:"video,omitempty"`
	Audio    media.Codec `json:"audio,omitempty"`
	Width    int         `json:"width,omitempty"`
	Height   int         `json:"height,omitempty"`

	Recovered bool      `json:"recovered,omitempty"` // its process ended without finishing it
	Expires   time.Time `json:"expires,omitzero"`    // when it is removed; zero: never
	Keep      Millis    `json:"keep,omitempty"`      // from End to Expires
	Told      bool      `json:"told,omitempty"`      // its Filed event was handed out
}

// ContentType is the file's media type.
func (f *File) ContentType() string {
	switch {
	case f.Format == TS:
		return "video/mp2t"
	case f.Format == HLS:
		return "application/vnd.apple.mpegurl"
	case f.Format == MP3:
		return "audio/mpeg"
	}
	if f.Video == "" {
		return "audio/mp4"
	}
	return "video/mp4"
}

// Millis is a duration that JSON has in milliseconds.
type Millis time.Duration

// MarshalJSON writes whole milliseconds.
func (m Millis) MarshalJSON() ([]byte, error) { return json.Marshal(time.Duration(m).Milliseconds()) }

// UnmarshalJSON reads whole milliseconds.
func (m *Millis) UnmarshalJSON(b []byte) error {
	var n int64
	if err := json.Unmarshal(b, &n); err != nil {
		return err
	}
	*m = Millis(time.Duration(n) * time.Millisecond)
	return nil
}

// usable tells whether a line of the index's log is one that an index wrote:
// names from elsewhere could lead anywhere, and what has no id cannot be asked for.
func (f *File) usable() bool {
	switch f.State {
	case Open, Done, Kept, gone:
		return f.ID != "" && storage.CheckName(f.Name) == nil && slices.Contains([]string{FMP4, TS, HLS, MP3}, f.Format)
	}
	return false
}
