package snapshot

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"braid/origin/storage"
)

// recall finds the pictures that an earlier run of the stream left, so that they
// count as its history, and goes on behind their numbers.
func (j *job) recall(ctx context.Context) error {
	form := j.form()
	var found []storage.Object
	for o, err := range j.Storage.List(ctx, j.prefix()) {
		if err != nil {
			return err
		}
		m := form.FindStringSubmatch(o.Name)
		if m == nil {
			continue
		}
		found = append(found, o)
		if len(m) > 1 {
			if n, err := strconv.Atoi(m[1]); err == nil {
				j.number = max(j.number, n+1)
			}
		}
	}
	slices.SortFunc(found, func(a, b storage.Object) int {
		return cmp.Or(a.Modified.Compare(b.Modified), cmp.Compare(a.Name, b.Name))
	})
	for _, o := range found {
		j.kept = append(j.kept, o.Name)
	}
	return nil
}

// keep adds a picture to the history and lets the oldest go. What cannot be deleted
// now is tried again with the next.
func (j *job) keep(ctx context.Context, name string) {
	if n := len(j.kept); n == 0 || j.kept[n-1] != name { // a name without seconds of its own is written over
		j.kept = append(j.kept, name)
	}
	for len(j.kept) > j.History {
		if err := j.Storage.Delete(ctx, j.kept[0]); err != nil {
			j.log.Warn("an old snapshot cannot be deleted", "name", j.kept[0], "error", err)
			return
		}
		j.kept = j.kept[1:]
	}
}
