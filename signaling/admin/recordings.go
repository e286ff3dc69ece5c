package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path"
	"time"

	"braid/media"
	files "braid/origin/record"
	"braid/origin/storage"
	"braid/signaling"
)

// Recordings is what this API needs of a *record.Index of braid/origin; see there.
type Recordings interface {
	List(q files.Query) (list []files.File, next string, err error)
	Get(id string) (files.File, error)
	Read(ctx context.Context, id string) (storage.Reader, files.File, error)
	Delete(ctx context.Context, id string) error
}

// recording is a record.File: one file of a stream of the origin.
type recording struct {
	ID          string      `json:"id"`
	Recording   string      `json:"recording"` // one for all files of one stay on air
	Sequence    int         `json:"sequence"`
	State       files.State `json:"state"` // "open": it is being written; "done": it waits to be uploaded; "kept"
	Application string      `json:"application,omitempty"`
	Template    string      `json:"template,omitempty"`
	Domain      string      `json:"domain"`
	App         string      `json:"app"`
	Stream      string      `json:"stream"`
	Name        string      `json:"name"`
	Storage     string      `json:"storage"` // "": this server's directory
	Format      string      `json:"format"`
	Playlist    string      `json:"playlist,omitempty"` // id of the HLS playlist whose segment it is
	Begin       time.Time   `json:"begin"`
	End         *time.Time  `json:"end,omitempty"`
	Duration    int64       `json:"duration_ms"`
	Size        int64       `json:"size"`
	Video       media.Codec `json:"video,omitempty"`
	Audio       media.Codec `json:"audio,omitempty"`
	Width       int         `json:"width,omitempty"`
	Height      int         `json:"height,omitempty"`
	Recovered   bool        `json:"recovered"`
	Expires     *time.Time  `json:"expires,omitempty"`
	Content     string      `json:"content"` // path of its bytes
}

func showRecording(f files.File) recording {
	r := recording{ID: f.ID, Recording: f.Recording, Sequence: f.Sequence, State: f.State, Application: f.Owner, Template: f.Template,
		Domain: f.Domain, App: f.App, Stream: f.Stream, Name: f.Name, Storage: f.Storage, Format: f.Format, Playlist: f.Playlist, Begin: f.Begin.UTC(),
		Duration: time.Duration(f.Duration).Milliseconds(), Size: f.Size, Video: f.Video, Audio: f.Audio, Width: f.Width, Height: f.Height,
		Recovered: f.Recovered, Content: "/v1/recordings/" + f.ID + "/content"}
	if !f.End.IsZero() {
		at := f.End.UTC()
		r.End = &at
	}
	if !f.Expires.IsZero() {
		at := f.Expires.UTC()
		r.Expires = &at
	}
	return r
}

// listRecordings lists files of the origin's streams, the newest first; the segments
// of an HLS playlist are among them only when they are asked for by its id.
func (h *Handler) listRecordings(c *call) (*reply, error) {
	q, err := c.query()
	if err != nil {
		return nil, err
	}
	f := files.Query{Owner: q.text("application", 64), Template: q.text("template", 64), Recording: q.text("recording", 64), Playlist: q.text("playlist", 64),
		App: q.text("app", 255), Stream: q.text("stream", 255), State: files.State(q.oneOf("state", "open", "done", "kept"))}
	f.Domain = q.text("domain", maxDomain)
	f.From, f.To = q.time("from", time.Time{}), q.time("to", time.Time{})
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		q.refuse("from", "is not before to")
	}
	f.Limit, f.Cursor = q.limit(), q.cursor("recordings")
	if err := q.done(); err != nil {
		return nil, err
	}
	p := page[recording]{Items: []recording{}}
	if h.recorded == nil {
		return ok(p)
	}
	list, next, err := h.recorded.List(f)
	if err != nil {
		return nil, err
	}
	for _, f := range list {
		p.Items = append(p.Items, showRecording(f))
	}
	if next != "" {
		p.Next = writeCursor("recordings", next)
	}
	return ok(p)
}

func (h *Handler) getRecording(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	if h.recorded == nil {
		return nil, noRecording(c)
	}
	f, err := h.recorded.Get(c.params["recording"])
	if err != nil {
		return nil, err
	}
	return ok(showRecording(f))
}

// getRecordingContent gives a file's bytes, or a range of them. Of one that is
// being written they are what there is.
func (h *Handler) getRecordingContent(c *call) (*reply, error) {
	if err := c.noQuery(); err != nil {
		return nil, err
	}
	if h.recorded == nil {
		return nil, noRecording(c)
	}
	r, f, err := h.recorded.Read(c.r.Context(), c.params["recording"])
	if err != nil {
		return nil, err
	}
	return &reply{stream: func(w http.ResponseWriter) error {
		defer r.Close()
		w.Header().Set("Content-Type", f.ContentType())
		w.Header().Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", path.Base(f.Name)))
		if f.State != files.Open {
			w.Header().Set("ETag", `"`+f.ID+`"`)
		}
		http.ServeContent(w, c.r, "", f.End, r)
		return nil
	}}, nil
}

// deleteRecording removes a file that is whole, wherever it is kept.
func (h *Handler) deleteRecording(c *call) (*reply, error) {
	if h.recorded == nil {
		return nil, noRecording(c)
	}
	err := h.recorded.Delete(c.r.Context(), c.params["recording"])
	if errors.Is(err, media.ErrExists) {
		return nil, signaling.Conflict("the file is being recorded, or is a segment of a playlist, with which it is deleted")
	}
	if err != nil {
		return nil, err
	}
	return &reply{}, nil
}

func noRecording(c *call) error {
	return fmt.Errorf("file %s: %w", quote(c.params["recording"]), media.ErrNotFound)
}
