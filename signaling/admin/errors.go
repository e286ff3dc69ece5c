package admin

import (
	"errors"

	"braid/media"
)

func isNotFound(err error) bool { return errors.Is(err, media.ErrNotFound) }
