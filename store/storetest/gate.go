package storetest

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Gate stands before a PostgreSQL: tests shut it, so that the database is away.
type Gate struct {
	DSN string // of the database through the gate

	t      testing.TB
	to     string // the server's socket
	socket string

	mu    sync.Mutex
	ln    net.Listener // nil while it is shut
	conns []net.Conn
	wg    sync.WaitGroup
}

// NewGate makes one, open, before the database of a DSN of Postgres.
func NewGate(t testing.TB, dsn string) *Gate {
	t.Helper()
	host, rest, ok := strings.Cut(strings.TrimPrefix(dsn, "host="), " ")
	if !ok {
		t.Fatalf("no DSN of storetest: %s", dsn)
	}
	const name = ".s.PGSQL.5432"
	dir, err := os.MkdirTemp("", "braid-gate-") // t.TempDir's name is too long for a socket's
	if err != nil {
		t.Fatal(err)
	}
	g := &Gate{DSN: "host=" + dir + " " + rest, t: t, to: filepath.Join(host, name), socket: filepath.Join(dir, name)}
	t.Cleanup(func() {
		g.Shut()
		g.wg.Wait()
		os.RemoveAll(dir)
	})
	g.Open()
	return g
}

// Open lets connections through.
func (g *Gate) Open() {
	g.t.Helper()
	ln, err := net.Listen("unix", g.socket)
	if err != nil {
		g.t.Fatal(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ln = ln
	g.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			g.wg.Go(func() { g.carry(c) })
		}
	})
}

// Shut ends all connections and lets none through. It may be called more than once.
func (g *Gate) Shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ln == nil {
		return
	}
	g.ln.Close()
	g.ln = nil
	for _, c := range g.conns {
		c.Close()
	}
	g.conns = nil
}

func (g *Gate) carry(c net.Conn) {
	defer c.Close()
	s, err := net.Dial("unix", g.to)
	if err != nil {
		return
	}
	defer s.Close()
	g.mu.Lock()
	open := g.ln != nil
	g.conns = append(g.conns, c, s)
	g.mu.Unlock()
	if !open {
		return
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		io.Copy(s, c)
		s.Close()
	}()
	io.Copy(c, s)
	c.Close()
	<-ended
}
