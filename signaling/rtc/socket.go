package rtc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"braid/media/sfu"
)

// Close codes of the protocol.
const (
	closeEnded        websocket.StatusCode = 4000 // an end event came before
	closeRefused      websocket.StatusCode = 4400 // the join was answered with an error
	closeUnauthorized websocket.StatusCode = 4401
	closeNoJoin       websocket.StatusCode = 4408 // none within joinWithin
	closeElsewhere    websocket.StatusCode = 4409 // another socket resumed the session
	closeSlow         websocket.StatusCode = 4413 // the client reads too slowly
	closeFlood        websocket.StatusCode = 4429
)

const (
	pingEvery    = 15 * time.Second
	pongWithin   = 15 * time.Second
	writeWithin  = 10 * time.Second
	maxQueued    = 2048    // messages waiting for one client: twice what a resume may bring
	maxQueuedLen = 4 << 20 // bytes of these
	lossyMark    = 64      // messages waiting, over which lossy ones are dropped
)

// socket is one WebSocket. Two goroutines serve it, one that writes and one that
// pings; who opened it reads.
type socket struct {
	conn   *websocket.Conn
	agent  string             // the client's User-Agent; written before the socket is used
	cancel context.CancelFunc // breaks the connection
	out    chan []byte        // filled by send, never closed
	queued atomic.Int64       // bytes in out

	once    sync.Once
	closing chan struct{} // closed by close; then the rest of out is written
	code    websocket.StatusCode
	reason  string

	mu  sync.Mutex
	rtt time.Duration    // 0 before the first pong
	who *sfu.Participant // who is told; nil before the join

	gone chan struct{} // closed when the connection has ended
	work sync.WaitGroup
}

// newSocket starts the socket's goroutines.
func newSocket(ctx context.Context, conn *websocket.Conn) *socket {
	ctx, cancel := context.WithCancel(ctx)
	s := &socket{
		conn: conn, cancel: cancel, out: make(chan []byte, maxQueued),
		closing: make(chan struct{}), gone: make(chan struct{}),
	}
	s.work.Go(func() { s.write(ctx) })
	s.work.Go(func() { s.ping(ctx) })
	return s
}

// tellRTT lets a participant know the socket's round trip times.
func (s *socket) tellRTT(p *sfu.Participant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.who = p
	p.SetRTT(s.rtt)
}

// finish ends the socket when its reader has seen the end of the connection.
func (s *socket) finish() {
	s.cancel()
	s.work.Wait()
	_ = s.conn.CloseNow()
	close(s.gone)
}

// send queues a message; one client that reads too slowly loses its connection.
// It never blocks.
func (s *socket) send(text []byte) {
	if s.queued.Add(int64(len(text))) > maxQueuedLen {
		s.close(closeSlow, "the client reads too slowly")
		return
	}
	select {
	case s.out <- text:
	default:
		s.close(closeSlow, "the client reads too slowly")
	}
}

// behind tells whether lossy messages should be left out.
func (s *socket) behind() bool { return len(s.out) > lossyMark }

// close ends the connection after what was sent before; only the first code counts.
func (s *socket) close(code websocket.StatusCode, reason string) {
	s.once.Do(func() {
		s.code, s.reason = code, reason
		close(s.closing)
		if code == closeSlow { // the words may never get through
			time.AfterFunc(closeTime, s.cancel)
		}
	})
}

// ending says why the server closed the connection; that it broke if it did not.
func (s *socket) ending() string {
	select {
	case <-s.closing:
		return s.reason
	default:
		return "the connection broke"
	}
}

func (s *socket) write(ctx context.Context) {
	for {
		select {
		case text := <-s.out:
			if !s.put(ctx, text) {
				s.cancel()
				return
			}
		case <-s.closing:
			s.farewell(ctx)
			s.cancel()
			return
		case <-ctx.Done():
			return
		}
	}
}

// farewell writes what was queued before close, but not to a client that does
// not read, and says goodbye.
func (s *socket) farewell(ctx context.Context) {
	for s.code != closeSlow {
		select {
		case text := <-s.out:
			if !s.put(ctx, text) {
				return
			}
			continue
		default:
		}
		break
	}
	_ = s.conn.Close(s.code, s.reason) // waits 5 s for the other side at most
}

func (s *socket) put(ctx context.Context, text []byte) bool {
	ctx, cancel := context.WithTimeout(ctx, writeWithin)
	defer cancel()
	s.queued.Add(-int64(len(text)))
	return s.conn.Write(ctx, websocket.MessageText, text) == nil
}

func (s *socket) ping(ctx context.Context) {
	wait := time.NewTimer(0)
	defer wait.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-wait.C:
		}
		sent := time.Now()
		within, cancel := context.WithTimeout(ctx, pongWithin)
		err := s.conn.Ping(within)
		cancel()
		if err != nil {
			s.cancel()
			return
		}
		s.mu.Lock()
		s.rtt = time.Since(sent)
		if s.who != nil {
			s.who.SetRTT(s.rtt)
		}
		s.mu.Unlock()
		wait.Reset(pingEvery)
	}
}
