package artc

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// rates holds each access key to the calls a second that an action documents
// (artc-api.md section 2, QPS), with the calls of one second at once. The
// source counts by account: an access key is braid's account. Only keys that
// exist get here, so there are at most as many limiters as keys times actions.
type rates struct {
	mu sync.Mutex
	of map[rateKey]*rate.Limiter
}

type rateKey struct{ keyID, action string }

func newRates() *rates { return &rates{of: map[rateKey]*rate.Limiter{}} }

// take counts a call; when it is one too many it is not counted, and wait is
// how long the caller has to.
func (r *rates) take(keyID string, a action, now time.Time) (wait time.Duration) {
	r.mu.Lock()
	k := rateKey{keyID, a.name}
	l := r.of[k]
	if l == nil {
		l = rate.NewLimiter(rate.Limit(a.qps), a.qps)
		r.of[k] = l
	}
	r.mu.Unlock()
	turn := l.ReserveN(now, 1)
	if wait = turn.DelayFrom(now); wait > 0 {
		turn.CancelAt(now)
	}
	return wait
}

// rateHeader is where the SDKs' core reads how long to wait: comma separated
// name:value, of which it takes TimeLeft, in milliseconds.
const rateHeader = "x-ratelimit-user-api"

func rateState(a action, wait time.Duration) string {
	left := (wait + time.Millisecond - 1) / time.Millisecond
	return fmt.Sprintf("Limit:%d,Remain:0,TimeLeft:%d", a.qps, left)
}

func throttled(a action) *apiError {
	return &apiError{http.StatusBadRequest, "Throttling.User",
		fmt.Sprintf("Request was denied due to user flow control: %s takes %d calls a second.", a.name, a.qps)}
}
