// Package testkit is what the tests of several packages need: waiting for a
// condition, goroutines that nobody waited for, bits and bytes, certificates. It
// knows nothing of the rest of braid and is in no program.
package testkit

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long goroutines that were told to end may take.
const patience = 5 * time.Second

// Exit ends a TestMain with m.Run's code: with 1 instead of 0 when goroutines are
// left whose stacks have the word, such as "braid/".
func Exit(code int, word string) {
	if left := leaks(word); code == 0 && left != "" {
		fmt.Fprintln(os.Stderr, "goroutines that nobody waited for:\n\n"+left)
		code = 1
	}
	os.Exit(code)
}

func leaks(word string) (left string) {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); runtime.Gosched() {
		left = ""
		for g := range strings.SplitSeq(stacks(), "\n\n") {
			if strings.Contains(g, word) && !strings.Contains(g, "main.main()") {
				left += g + "\n\n"
			}
		}
		if left == "" {
			break
		}
	}
	return left
}

// NoLeaks fails the test when it ends with more goroutines than there are now.
func NoLeaks(t testing.TB) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for late := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
			if time.Now().After(late) {
				t.Errorf("%d goroutines, %d at the start:\n%s", runtime.NumGoroutine(), before, stacks())
				return
			}
		}
	})
}

func stacks() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}
