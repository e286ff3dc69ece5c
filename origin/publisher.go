package origin

// Publisher counts the stream's publishers, from 1: it grows when one came back,
// with whose tags a new group of pictures begins and codecs may have changed.
func (t *Tag) Publisher() uint32 { return t.epoch }
