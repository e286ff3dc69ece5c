package netbox

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Available tells why boxes cannot be made here; nil: they can.
func Available() error {
	if os.Getuid() != 0 {
		return errors.New("network boxes need root")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return errors.New("network boxes need iproute2's ip")
	}
	tun, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("network boxes need /dev/net/tun: %w", err)
	}
	unix.Close(tun)
	n, err := NewNamespace("try")
	if err != nil {
		return fmt.Errorf("network boxes need namespaces: %w", err)
	}
	return n.Close()
}

// Namespace is a network of its own, with a loopback interface.
type Namespace struct{ Name string }

const (
	namespaces = "/run/netns"
	prefix     = "braid-box-" // and the process's id: leftovers of one that was killed are known
)

// NewNamespace makes a namespace; what names its part in messages.
func NewNamespace(what string) (*Namespace, error) {
	sweep()
	n := &Namespace{fmt.Sprintf("%s%d-%s-%s", prefix, os.Getpid(), strings.ToLower(rand.Text()[:6]), what)}
	if err := ip("netns", "add", n.Name); err != nil {
		return nil, err
	}
	if err := n.IP("link", "set", "lo", "up"); err != nil {
		n.Close()
		return nil, err
	}
	return n, nil
}

// sweep deletes namespaces of processes that are gone.
func sweep() {
	left, _ := filepath.Glob(filepath.Join(namespaces, prefix+"*"))
	for _, path := range left {
		name := filepath.Base(path)
		pid, _, _ := strings.Cut(strings.TrimPrefix(name, prefix), "-")
		if id, err := strconv.Atoi(pid); err == nil && unix.Kill(id, 0) == unix.ESRCH {
			_ = ip("netns", "del", name)
		}
	}
}

// Close deletes the namespace. It is gone when the last process in it has ended.
func (n *Namespace) Close() error { return ip("netns", "del", n.Name) }

// IP runs ip(8) in the namespace.
func (n *Namespace) IP(args ...string) error {
	return ip(append([]string{"-n", n.Name}, args...)...)
}

// Command runs a program in the namespace: a prefix for its arguments.
func (n *Namespace) Command(args ...string) []string {
	return append([]string{"ip", "netns", "exec", n.Name}, args...)
}

// Do calls f on a thread in the namespace: sockets that f itself makes belong
// there, wherever they are used later; those of goroutines that f starts do not.
func (n *Namespace) Do(f func() error) error {
	fd, err := unix.Open(filepath.Join(namespaces, n.Name), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the namespace %s: %w", n.Name, err)
	}
	defer unix.Close(fd)
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			ended <- fmt.Errorf("enter the namespace %s: %w", n.Name, err)
			return
		}
		ended <- f()
	}()
	return <-ended
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// Box joins two namespaces by a wire for each direction. Both are perfect until
// they are Set.
type Box struct {
	Forth *Wire // from a to b
	Back  *Wire // from b to a

	ends [2]*os.File
	done chan struct{}
	once sync.Once
	wg   sync.WaitGroup
}

// New joins a and b by the network 198.18.NET.0/24 of RFC 2544, in which a has
// the address .1 and b .2, on interfaces that are both called boxNET; b finds
// everything else through a. seed fixes all that is random.
func New(a, b *Namespace, net uint8, seed uint64) (*Box, error) {
	x := &Box{Forth: newWire(2 * seed), Back: newWire(2*seed + 1), done: make(chan struct{})}
	for i, n := range []*Namespace{a, b} {
		name, err := fmt.Sprintf("box%d", net), error(nil)
		if x.ends[i], err = openTUN(n, name); err == nil {
			err = errors.Join(
				n.IP("link", "set", name, "addrgenmode", "none"), // no IPv6 beside it
				n.IP("addr", "add", Address(net, i+1)+"/24", "dev", name),
				n.IP("link", "set", name, "up"))
		}
		if err == nil && i == 1 {
			err = n.IP("route", "add", "default", "via", Address(net, 1))
		}
		if err != nil {
			x.Close()
			return nil, err
		}
	}
	x.wg.Go(func() { x.Forth.read(x.ends[0]) })
	x.wg.Go(func() { x.Back.read(x.ends[1]) })
	x.wg.Go(func() { x.Forth.write(x.ends[1], x.done) })
	x.wg.Go(func() { x.Back.write(x.ends[0], x.done) })
	return x, nil
}

// Address is host's address in a box's network.
func Address(net uint8, host int) string { return fmt.Sprintf("198.18.%d.%d", net, host) }

// Both sets both directions.
func (x *Box) Both(p Profile) {
	x.Forth.Set(p)
	x.Back.Set(p)
}

// Close takes the wire away. What is under way is lost.
func (x *Box) Close() {
	x.once.Do(func() {
		close(x.done)
		for _, f := range x.ends {
			if f != nil {
				f.Close()
			}
		}
		x.wg.Wait()
	})
}

// openTUN makes a TUN device in a namespace: each read and each write is one IP
// packet. It ends when the file is closed.
func openTUN(n *Namespace, name string) (f *os.File, err error) {
	err = n.Do(func() error {
		fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open /dev/net/tun: %w", err)
		}
		var request [40]byte // struct ifreq: name, flags
		copy(request[:unix.IFNAMSIZ-1], name)
		binary.NativeEndian.PutUint16(request[unix.IFNAMSIZ:], unix.IFF_TUN|unix.IFF_NO_PI)
		if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TUNSETIFF, uintptr(unsafe.Pointer(&request[0]))); e != 0 {
			unix.Close(fd)
			return fmt.Errorf("make the TUN device %s: %w", name, e)
		}
		f = os.NewFile(uintptr(fd), name) // after the ioctl: before it, polling fails
		return nil
	})
	return f, err
}
