package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"reflect"
	"strconv"
	"testing"
	"time"

	"braid/event"
	"braid/store"
	"braid/store/storetest"
)

// childEnv holds the place of the store in the process that is killed.
const childEnv = "BRAID_STORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if place := os.Getenv(childEnv); place != "" {
		fmt.Fprintln(os.Stderr, commitForever(place))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// commitForever is the process that is killed: it commits a state together with
// its events and says on stdout that it has. It only comes back with an error.
func commitForever(place string) error {
	var c store.Config
	if err := json.Unmarshal([]byte(place), &c); err != nil {
		return err
	}
	ctx := context.Background()
	db, err := store.Open(ctx, c)
	if err != nil {
		return err
	}
	if err := db.Depart(ctx); err != nil {
		return err
	}
	for {
		var n int
		err := db.Update(ctx, func(tx *store.Tx) error {
			v, err := tx.Meta("n")
			if err != nil {
				return err
			}
			fmt.Sscan(v, &n)
			n++
			return both(tx.SetMeta("n", strconv.Itoa(n)), tx.Append(step(n)...))
		})
		if err != nil {
			return err
		}
		fmt.Println(n)
	}
}

// both gives the first error.
func both(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// step is what happens with state n.
func step(n int) []event.Event {
	session := strconv.Itoa(n / 4)
	var events []event.Event
	switch n % 4 {
	case 0:
		events = []event.Event{channelEvent(event.ChannelOpen), userEvent(event.UserJoin, session)}
	case 1:
		events = []event.Event{userEvent(event.PublishAudio, session, event.Audio)}
	case 2:
		events = []event.Event{userEvent(event.UnpublishAudio, session), userEvent(event.UserLeave, session)}
	case 3:
		events = []event.Event{channelEvent(event.ChannelClose)}
	}
	for i := range events {
		events[i].ID = fmt.Sprintf("%d.%d", n, i)
	}
	return events
}

// However the process ends, what it said it had committed is there, whole.
func TestKilled(t *testing.T) {
	storetest.Configs(t, func(t *testing.T, c store.Config) {
		seed := uint64(time.Now().UnixNano())
		rnd := rand.New(rand.NewPCG(seed, 0))
		acked, departed := 0, 0
		for round := range 20 {
			last := kill(t, c, rnd.IntN(25), time.Duration(rnd.IntN(3000))*time.Microsecond)
			if last != 0 && last < acked {
				t.Fatalf("round %d: the process went on at %d, though %d was acknowledged", round, last, acked)
			}
			acked = max(acked, last)
			db := storetest.OpenConfig(t, c)
			departed = check(t, db, acked)
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if t.Failed() {
				t.Fatalf("in round %d with seed %d", round, seed)
			}
		}
		t.Logf("20 kills, %d commits, all there; %d events of departure", acked, departed)
	})
}

// kill starts the process, lets it acknowledge some commits, kills it a moment
// later and gives the last one that it acknowledged; 0: none.
func kill(t *testing.T, c store.Config, acks int, later time.Duration) (last int) {
	t.Helper()
	place, err := json.Marshal(map[string]string{"Dir": c.Dir, "DSN": c.DSN})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+string(place))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for seen := 0; ; seen++ {
		if seen == acks+1 {
			time.AfterFunc(later, func() { cmd.Process.Kill() })
		}
		if !lines.Scan() {
			break
		}
		if last, err = strconv.Atoi(lines.Text()); err != nil {
			t.Errorf("the process wrote %q", lines.Text())
		}
	}
	if err := cmd.Wait(); cmd.ProcessState.Exited() {
		t.Fatalf("the process ended by itself: %v", err)
	}
	return last
}

// check looks at what is left after a kill: state, log and presence belong
// together. It gives the number of events of departure.
func check(t *testing.T, db *store.DB, acked int) (departed int) {
	t.Helper()
	view(t, db, func(tx *store.Tx) error {
		v, err := tx.Meta("n")
		if err != nil {
			return err
		}
		n, _ := strconv.Atoi(v) // "" before the first
		if n != acked && n != acked+1 {
			t.Errorf("the state is %d, want the one acknowledged, %d, or one more", n, acked)
		}
		var log []event.Event
		for {
			page, err := tx.Events("", int64(len(log)), 100)
			if err != nil {
				return err
			}
			if len(page) == 0 {
				break
			}
			log = append(log, page...)
		}
		var want, got []string
		for i := range n {
			for _, e := range step(i + 1) {
				want = append(want, e.ID)
			}
		}
		for i, e := range log {
			if e.Seq != int64(i+1) {
				t.Errorf("event %d of the log has number %d", i+1, e.Seq)
			}
			if len(e.ID) == 36 {
				departed++
				continue
			}
			got = append(got, e.ID)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("events of the %d commits: got %v\nwant %v", n, got, want)
		}
		present, err := tx.Presence()
		if err != nil {
			return err
		}
		open, sessions := replay(log)
		if len(present) != open {
			t.Errorf("presence has %d channels, the log %d", len(present), open)
		}
		for _, p := range present {
			for _, u := range p.Users {
				if medias, ok := sessions[u.Session]; !ok || medias != len(u.Medias) {
					t.Errorf("presence has session %s with %v, the log %v", u.Session, u.Medias, sessions)
				}
				delete(sessions, u.Session)
			}
		}
		if len(sessions) != 0 {
			t.Errorf("the log has sessions that presence has not: %v", sessions)
		}
		return nil
	})
	return departed
}

// replay tells from the log how many channels are open, and for each session
// in one how many medias it publishes.
func replay(log []event.Event) (open int, sessions map[string]int) {
	sessions = map[string]int{}
	for _, e := range log {
		switch e.Type {
		case event.ChannelOpen:
			open = 1
		case event.ChannelClose:
			open = 0
			clear(sessions)
		case event.UserJoin:
			open = 1
			sessions[e.User.Session] = len(e.User.Medias)
		case event.UserLeave:
			delete(sessions, e.User.Session)
		default:
			if _, ok := sessions[e.User.Session]; ok {
				sessions[e.User.Session] = len(e.User.Medias)
			}
		}
	}
	return open, sessions
}
