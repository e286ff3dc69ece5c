package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Postgres gives the DSN of an empty database that is dropped at the end of the
// test. The test is skipped when PostgreSQL is not installed.
func Postgres(t testing.TB) string {
	t.Helper()
	s := theServer()
	if errors.Is(s.err, errMissing) {
		t.Skip("PostgreSQL is not installed: apt-get install -y postgresql")
	}
	if s.err != nil {
		t.Fatalf("start PostgreSQL: %v", s.err)
	}
	name := fmt.Sprintf("test_%d", s.made.Add(1))
	if err := s.do(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.do(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("drop the test's database: %v", err)
		}
	})
	return s.dsn(name)
}

// server is the PostgreSQL of this test program.
type server struct {
	dir  string
	made atomic.Int64 // databases
	err  error
	life *os.File // the server ends when this pipe does
}

var errMissing = errors.New("initdb and postgres are not there")

// theServer starts the server at its first call. It lives as long as the test
// program, which is why this is a variable of the package.
var theServer = sync.OnceValue(func() *server {
	s := &server{}
	s.err = s.start()
	return s
})

func (s *server) start() error {
	bin := binaries()
	if bin == "" {
		return errMissing
	}
	var err error
	// Not below t.TempDir, which only root may enter, and whose long name does
	// not fit into the address of a socket.
	if s.dir, err = os.MkdirTemp("", "braid-pg-"); err != nil {
		return err
	}
	if err := s.launch(bin); err != nil {
		os.RemoveAll(s.dir)
		return err
	}
	return s.await()
}

// launch makes the database's files and starts the server.
func (s *server) launch(bin string) error {
	attr, err := unprivileged(s.dir)
	if err != nil {
		return err
	}
	data := filepath.Join(s.dir, "data")
	// A locale that sorts unlike bytes shows where the store depends on the order of text.
	initdb := exec.Command(filepath.Join(bin, "initdb"), "--no-sync", "--auth=trust", "--username=braid", "--encoding=UTF8",
		"--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en", data)
	initdb.Dir, initdb.SysProcAttr = s.dir, attr
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	defer log.Close()
	theirs, ours, err := os.Pipe()
	if err != nil {
		return err
	}
	defer theirs.Close()
	s.life = ours
	// The shell waits for the end of the pipe, which comes however the test
	// program ends, and then ends the server and takes its files away.
	sh := exec.Command("/bin/sh", "-c", `"$1/postgres" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=100 </dev/null &
		cat >/dev/null; kill -QUIT $!; wait $!; rm -rf "$2"`, "sh", bin, s.dir)
	sh.Dir, sh.SysProcAttr = s.dir, attr
	sh.Stdin, sh.Stdout, sh.Stderr = theirs, log, log
	// A Ctrl-C of the terminal is for the test program alone.
	sh.SysProcAttr.Setpgid = true
	return sh.Start()
}

// await waits until the server takes connections.
func (s *server) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.do(ctx, "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			return fmt.Errorf("it takes no connections: %w\n%s", err, log)
		}
	}
}

func (s *server) dsn(database string) string {
	return fmt.Sprintf("host=%s user=braid dbname=%s", s.dir, database)
}

// do runs a statement on the server's own database.
func (s *server) do(ctx context.Context, statement string) error {
	conn, err := pgx.Connect(ctx, s.dsn("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = conn.Exec(ctx, statement)
	return err
}

// binaries finds the directory of initdb and postgres, which Debian keeps off
// the PATH; "" when there is none.
func binaries() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is right
	slices.Reverse(dirs)
	if p, err := exec.LookPath("initdb"); err == nil {
		dirs = append(dirs, filepath.Dir(p))
	}
	for _, d := range dirs {
		if exec.Command(filepath.Join(d, "initdb"), "--version").Run() != nil {
			continue
		}
		if exec.Command(filepath.Join(d, "postgres"), "--version").Run() == nil {
			return d
		}
	}
	return ""
}

// unprivileged gives dir to the user under which PostgreSQL, which refuses to
// be root, is to run: the package's, else nobody; for any user but root itself.
func unprivileged(dir string) (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return nil, err
		}
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, os.Chown(dir, uid, gid)
}
