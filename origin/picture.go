package origin

import (
	"bytes"
	"fmt"
	"net/http"
	"time"

	"braid/media"
)

// servePicture answers with the newest snapshot of a stream, as Config.Picture has it.
func (o *Origin) servePicture(w http.ResponseWriter, r *http.Request, app, name string) {
	var file []byte
	var taken time.Time
	ok := false
	if o.cfg.Picture != nil {
		file, taken, ok = o.cfg.Picture(app, name)
	}
	if !ok {
		refuse(w, fmt.Errorf("origin: there is no picture of %s/%s: it is not on air, or no snapshot template takes it: %w", app, name, media.ErrNotFound))
		return
	}
	w.Header().Set("Content-Type", "image/jpeg")
	w.Header().Set("Cache-Control", "no-cache") // to be asked for again, which costs nothing while it is the same
	http.ServeContent(w, r, "", taken, bytes.NewReader(file))
}
