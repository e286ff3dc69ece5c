package relay

import (
	"context"
	"errors"
	"strings"
	"testing"

	"braid/internal/testkit"
)

// What people see of a task: its URLs without their keys, and how each does.
func TestStates(t *testing.T) {
	good := newStudioOrigin(t, nil)
	bad := newStudioOrigin(t, func(string, string, string) error { return errors.New("not you") })
	s := newStudio(t, nil)
	if err := s.Start(context.Background(), videoTask("t1", good.url+"/live/"+pushKey, bad.url+"/live/"+pushKey)); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "one plays, the other has failed", func() bool {
		all := s.States()
		if len(all) != 1 || len(all[0].URLs) != 2 {
			t.Fatalf("got %+v, want one task with two URLs", all)
		}
		u := all[0].URLs
		return u[0].State == "playing" && u[0].Bytes > 0 && u[0].Reason == "" && u[1].State == "failed" && strings.HasPrefix(u[1].Reason, "rejected")
	})
	got := s.States()[0]
	if got.App != "app" || got.Channel != "room" || got.Task != "t1" || got.Auto || got.Mode != Single || got.Created.IsZero() {
		t.Errorf("got %+v", got)
	}
	for _, u := range got.URLs {
		if strings.Contains(u.URL, pushKey) || !strings.HasPrefix(u.URL, "rtmp://") {
			t.Errorf("the URL is shown as %q", u.URL)
		}
	}
}
