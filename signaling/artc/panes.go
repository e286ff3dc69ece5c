package artc

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"

	"braid/media"
	"braid/relay"
)

// Mixes are the mixed streams of channels.
type Mixes interface {
	// MixOf finds a mix of a channel: by the task's name, or the one changed last
	// when that is "". media.ErrNotFound: there is none.
	MixOf(app, channel, task string) (*relay.Spec, error)
	// Update is that of Tasks.
	Update(ctx context.Context, s *relay.Spec) error
}

// SetPanes gives a running mix other panes and leaves all else: what
// UpdateLiveMPUTask does for a caller who knows the layout alone, such as a
// user whose token grants it. panes is a JSON list in the form of
// Layout.UserPanes, numbers as text or as numbers. task may be "": the channel's
// mix. Errors wrap media.ErrInvalid, whose words name the field, or those of mixes.
func SetPanes(ctx context.Context, mixes Mixes, app, channel, task string, panes json.RawMessage) error {
	return setPanes(ctx, mixes, app, channel, task, panes, false)
}

// SetLayout is SetPanes for the operator, whose panes may have images and users
// of other channels, as those of UpdateLiveMPUTask may.
func SetLayout(ctx context.Context, mixes Mixes, app, channel, task string, panes json.RawMessage) error {
	return setPanes(ctx, mixes, app, channel, task, panes, true)
}

func setPanes(ctx context.Context, mixes Mixes, app, channel, task string, panes json.RawMessage, operator bool) error {
	running, err := mixes.MixOf(app, channel, task)
	if err != nil {
		return err
	}
	tree, err := new(decoder).text("panes", string(panes))
	if err != nil {
		return fmt.Errorf("%w: %w", err, media.ErrInvalid)
	}
	f := newFields(map[string]any{"Layout": map[string]any{"UserPanes": tree}})
	next := *running
	next.Panes = userPanes(f, channel, running.Users)
	if !operator {
		keepInside(f, running, next.Panes)
	}
	if err := f.err(); err != nil {
		return fmt.Errorf("%w: %w", err, media.ErrInvalid)
	}
	next.Echo = withPanes(running.Echo, f.echo["Layout"])
	return mixes.Update(ctx, &next)
}

// keepInside refuses panes that reach out of the channel: one of its users has
// no say over other channels, nor over what the server fetches.
func keepInside(f *fields, running *relay.Spec, panes []relay.Pane) {
	for i, p := range panes {
		if p.User != nil && p.User.Channel != "" && len(running.Users) == 0 {
			f.invalid("UserPanes", "pane %d shows a user of another channel", i+1)
		}
		if p.Background != "" {
			f.invalid("UserPanes", "pane %d has an image", i+1)
		}
	}
}

// withPanes is an echo with another layout; nil stays nil.
func withPanes(echo map[string]any, layout any) map[string]any {
	if echo == nil {
		return nil
	}
	next := maps.Clone(echo)
	transcode, _ := echo["TranscodeParams"].(map[string]any)
	transcode = maps.Clone(transcode)
	if transcode == nil {
		transcode = map[string]any{}
	}
	transcode["Layout"] = layout
	next["TranscodeParams"] = transcode
	return next
}
