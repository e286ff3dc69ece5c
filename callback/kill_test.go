package callback

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"

	"braid/event"
	"braid/media"
	"braid/store"
)

const killChannels = 4

// TestKill kills a process that makes events and sends callbacks, 30 times, at
// random moments. Each event that it has acknowledged reaches a receiver that
// fails half the time; each channel is in order; what comes twice has the same
// MsgId.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	r := &receiver{respond: func(*message) int {
		if rand.IntN(2) == 0 {
			return http.StatusInternalServerError
		}
		return http.StatusOK
	}}
	url := r.listen(t)
	acked := 0
	for range 30 {
		acked = max(acked, killOne(t, dir, url))
	}
	if acked < 60 {
		t.Fatalf("the children acknowledged %d rounds", acked)
	}
	total := runChild(t, dir, url, "drain", nil)
	if total < acked {
		t.Fatalf("%d rounds are in the store, %d were acknowledged", total, acked)
	}
	want := map[string]int{}
	for c := range killChannels {
		want[fmt.Sprintf("room%d", c)] = total
	}
	// The receiver's answers are what the sender goes by; what it got at all is in order too.
	repeats := inOrder(t, r.messages(), want)
	t.Logf("%d events acknowledged, %d committed, %d requests, %d delivered more than once",
		acked*killChannels, total*killChannels, len(r.attempts()), repeats)
}

// killOne runs a child and kills it some time after its first acknowledgement.
func killOne(t *testing.T, dir, url string) (acked int) {
	t.Helper()
	var once sync.Once
	return runChild(t, dir, url, "make", func(p *os.Process) {
		once.Do(func() { time.AfterFunc(time.Duration(rand.IntN(250))*time.Millisecond, func() { p.Kill() }) })
	})
}

// runChild runs this test program as child, and gives the last number that it printed.
func runChild(t *testing.T, dir, url, mode string, line func(*os.Process)) (last int) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BRAID_CALLBACK_CHILD="+dir, "BRAID_CALLBACK_URL="+url, "BRAID_CALLBACK_MODE="+mode)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	limit := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	defer limit.Stop()
	for in := bufio.NewScanner(out); in.Scan(); {
		if last, err = strconv.Atoi(in.Text()); err != nil {
			t.Errorf("the child said %q", in.Text())
		}
		if line != nil {
			line(cmd.Process)
		}
	}
	if err := cmd.Wait(); err != nil && line == nil {
		t.Fatalf("the child that empties the outbox: %v", err)
	}
	return last
}

// child is the process that is killed. It appends rounds of one event a channel
// and prints a round's number when it is durable; or it waits until all is
// delivered and prints how many rounds there are.
func child(dir string) {
	ctx := context.Background()
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
	}
	db, err := store.Open(ctx, store.Config{Dir: dir})
	check(err)
	s := New(Config{Store: db, FirstRetry: time.Millisecond, MaxRetry: 10 * time.Millisecond})
	check(prepare(ctx, db, s))
	go s.Run(ctx)
	if os.Getenv("BRAID_CALLBACK_MODE") == "drain" {
		for {
			st, err := s.Stats(ctx)
			check(err)
			if st.Waiting == 0 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		check(db.View(ctx, func(tx *store.Tx) error {
			n, err := tx.Meta("rounds")
			fmt.Println(n)
			return err
		}))
		os.Exit(0)
	}
	for {
		var round int
		check(db.Update(ctx, func(tx *store.Tx) error {
			had, err := tx.Meta("rounds")
			if err != nil {
				return err
			}
			round, _ = strconv.Atoi(had)
			var batch []event.Event
			for c := range killChannels {
				batch = append(batch, role(fmt.Sprintf("room%d", c), round))
			}
			round++
			if err := tx.Append(batch...); err != nil {
				return err
			}
			return tx.SetMeta("rounds", strconv.Itoa(round))
		}))
		fmt.Println(round)
	}
}

// prepare makes the application and its subscription, the first time.
func prepare(ctx context.Context, db *store.DB, s *Service) error {
	err := db.Update(ctx, func(tx *store.Tx) error {
		if err := tx.CreateApplication(&store.Application{ID: testApp, Signing: store.Secret{Current: NewSecret()}}); err != nil {
			return err
		}
		return tx.SetMeta("rounds", "0")
	})
	if err != nil && !errors.Is(err, media.ErrExists) {
		return err
	}
	if subs, err := s.List(ctx, testApp, store.Room); err != nil || len(subs) > 0 {
		return err
	}
	return s.Create(ctx, &store.Subscription{App: testApp, Kind: store.Room, URL: os.Getenv("BRAID_CALLBACK_URL"),
		Events: []string{channelEvent, userEvent}})
}
