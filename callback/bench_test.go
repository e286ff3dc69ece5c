package callback

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"braid/event"
	"braid/store"
	"braid/store/storetest"
)

// BenchmarkSend is the way of an event from its transaction to a receiver's 200
// and the record of it, all durable: 16 channels a receiver, events appended a
// hundred at a time while callbacks are sent.
func BenchmarkSend(b *testing.B) {
	for _, engine := range []string{"sqlite", "postgres"} {
		for _, receivers := range []int{1, 8} {
			b.Run(fmt.Sprintf("%s/%d", engine, receivers), func(b *testing.B) {
				c := store.Config{Dir: b.TempDir()}
				if engine == "postgres" {
					c = store.Config{DSN: storetest.Postgres(b)}
				}
				benchmarkSend(b, storetest.OpenConfig(b, c), receivers)
			})
		}
	}
}

func benchmarkSend(b *testing.B, db *store.DB, receivers int) {
	s, _ := start(b, db, Config{})
	got := make([]atomic.Int64, receivers)
	for i := range receivers {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.Copy(io.Discard, r.Body)
			got[i].Add(1)
		}))
		b.Cleanup(srv.Close)
		app := fmt.Sprint("app", i)
		newApp(b, db, app)
		subscribe(b, s, app, srv.URL)
	}
	b.ReportAllocs()
	b.ResetTimer()
	began := time.Now()
	var batch []event.Event
	for n := range b.N {
		e := role(fmt.Sprint("room", n/receivers%16), n)
		e.App = fmt.Sprint("app", n%receivers)
		if batch = append(batch, e); len(batch) == 100 || n == b.N-1 {
			add(b, db, batch...)
			batch = batch[:0]
		}
	}
	appended := time.Since(began)
	arrived := func() (sum int64) {
		for i := range got {
			sum += got[i].Load()
		}
		return sum
	}
	for arrived() < int64(b.N) {
		time.Sleep(time.Millisecond)
	}
	for waiting := int64(1); waiting > 0; { // the last results become durable
		st, err := s.Stats(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		waiting = st.Waiting
	}
	b.StopTimer()
	if n := arrived(); n != int64(b.N) {
		b.Fatalf("%d messages arrived, %d were sent", n, b.N)
	}
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "callbacks/s")
	b.ReportMetric(float64(b.N)/appended.Seconds(), "appends/s")
}

// BenchmarkIdle sends one callback after the other beside subscriptions that
// have nothing to send, and says what those cost while nothing happens at all.
func BenchmarkIdle(b *testing.B) {
	for _, idle := range []int{0, 10_000} {
		b.Run(fmt.Sprint(idle), func(b *testing.B) {
			db := open(b)
			var before runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			goroutines := runtime.NumGoroutine()
			s, _ := start(b, db, Config{})
			for i := range (idle + 499) / 500 {
				update(b, db, func(tx *store.Tx) error {
					for j := range 500 {
						app := fmt.Sprintf("idle%d", i*25+j/20)
						if j%20 == 0 {
							if err := tx.CreateApplication(&store.Application{ID: app}); err != nil {
								return err
							}
						}
						sub := store.Subscription{App: app, ID: fmt.Sprintf("%s-%d", app, j), Kind: store.Room, URL: "http://127.0.0.1:1/",
							Channels: []string{fmt.Sprint("c", j)}, Events: []string{channelEvent}}
						if err := tx.CreateSubscription(&sub); err != nil {
							return err
						}
					}
					return nil
				})
			}
			r := make(chan struct{}, 1)
			srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { r <- struct{}{} }))
			b.Cleanup(srv.Close)

			var after, later runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&after)
			cpu := cpuTime()
			time.Sleep(time.Second) // what is measured is that nothing happens
			cpu = cpuTime() - cpu
			runtime.ReadMemStats(&later)
			more := runtime.NumGoroutine() - goroutines

			subscribe(b, s, testApp, srv.URL)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				add(b, db, role("room", n))
				<-r
				n++
			}
			b.ReportMetric(float64(later.Mallocs-after.Mallocs), "idle-allocs/s")
			b.ReportMetric(float64(cpu.Microseconds())/1e3, "idle-cpu-ms/s")
			b.ReportMetric(float64(int64(after.HeapAlloc)-int64(before.HeapAlloc))/1024, "heap-KiB")
			b.ReportMetric(float64(more), "goroutines")
		})
	}
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
