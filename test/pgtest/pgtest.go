// Package pgtest starts a PostgreSQL of its own for tests, and stops it in all
// the ways in which a database can end.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// ErrAbsent says that PostgreSQL is not installed.
var ErrAbsent = errors.New("PostgreSQL is not installed (Debian: apt-get install postgresql)")

// Options set a server up.
type Options struct {
	Dir    string // of the data and the log; must be reachable by the user that the server runs as
	Listen string // address; empty: 127.0.0.1
	Fsync  bool   // flush to the disk, as a real server does
	// Names are hosts and addresses for which the server has a certificate; none: it
	// takes no TLS. See CAFile.
	Names []string
}

// Server is a PostgreSQL.
type Server struct {
	o         Options
	bin       string
	port      int
	as        *syscall.Credential // nil: ourselves
	mu        sync.Mutex
	cmd       *exec.Cmd
	ended     chan error
	databases int
}

// New makes a server in the directory and starts it.
func New(o Options) (*Server, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1"
	}
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, bin: bin}
	if os.Getuid() == 0 { // it refuses to run as root
		if s.as, err = unprivileged(); err != nil {
			return nil, err
		}
		if err := os.Chown(o.Dir, int(s.as.Uid), int(s.as.Gid)); err != nil {
			return nil, err
		}
	}
	if s.port, err = freePort(o.Listen); err != nil {
		return nil, err
	}
	if len(o.Names) > 0 {
		if err := s.certify(); err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
	}
	args := []string{"-D", s.data(), "-U", "funnel", "--auth=trust", "--encoding=UTF8", "--locale=C"}
	if !o.Fsync {
		args = append(args, "--no-sync")
	}
	if out, err := s.command("initdb", args...).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("making a database cluster: %w\n%s", err, out)
	}
	if o.Listen != "127.0.0.1" {
		rule := "host all all all trust\n"
		if err := appendTo(filepath.Join(s.data(), "pg_hba.conf"), rule); err != nil {
			return nil, err
		}
	}
	return s, s.Start()
}

func appendTo(path, text string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// binaries returns the directory of the newest installed PostgreSQL.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	slices.SortFunc(found, func(a, b string) int { return version(a) - version(b) })
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", ErrAbsent
}

func version(path string) int {
	n, _ := strconv.Atoi(strings.Split(path, "/")[4])
	return n
}

func unprivileged() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, errors.Join(err1, err2)
	}
	return nil, errors.New("there is no user postgres or nobody to run PostgreSQL as")
}

func freePort(host string) (int, error) {
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil { // an address of another network namespace
		l, err = net.Listen("tcp", "127.0.0.1:0")
	}
	if err != nil {
		return 0, err
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) data() string { return filepath.Join(s.o.Dir, "data") }

// Log is the path of the server's log.
func (s *Server) Log() string { return filepath.Join(s.o.Dir, "log") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.o.Dir
	cmd.Env = []string{"PATH=" + s.bin + ":/usr/bin:/bin", "LC_ALL=C", "TZ=UTC"}
	// Should we end without stopping it, it is not left behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Pdeathsig: syscall.SIGQUIT}
	return cmd
}

// Start starts the server and returns when it answers. After a kill, the parts of
// the old one may still be ending: then it is tried again.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.start()
	for deadline := time.Now().Add(20 * time.Second); errors.Is(err, errEnded) && time.Now().Before(deadline); {
		time.Sleep(100 * time.Millisecond)
		err = s.start()
	}
	return err
}

var errEnded = errors.New("PostgreSQL ended at its start")

func (s *Server) start() error {
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	fsync := "off"
	if s.o.Fsync {
		fsync = "on"
	}
	cmd := s.command("postgres", "-D", s.data(), "-p", strconv.Itoa(s.port), "-k", s.o.Dir, "-c", "listen_addresses="+s.o.Listen,
		"-c", "fsync="+fsync, "-c", "max_connections=200", "-c", "shared_buffers=64MB", "-c", "log_min_messages=warning")
	if len(s.o.Names) > 0 {
		cmd.Args = append(cmd.Args, "-c", "ssl=on", "-c", "ssl_cert_file="+s.CAFile(), "-c", "ssl_key_file="+s.keyFile())
	}
	cmd.Stdout, cmd.Stderr = log, log
	ended := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the thread that starts it must live as long, or Pdeathsig strikes
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("starting PostgreSQL: %w", err)
	}
	s.cmd, s.ended = cmd, ended
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		if s.answers() {
			return nil
		}
		select {
		case err := <-ended:
			text, _ := os.ReadFile(s.Log())
			s.cmd = nil
			return fmt.Errorf("%w: %w\n%s", errEnded, err, text)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errors.New("PostgreSQL did not answer within a minute")
}

func (s *Server) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.local("postgres"))
	if err != nil {
		return false
	}
	return conn.Close(ctx) == nil
}

func (s *Server) local(database string) string {
	return fmt.Sprintf("host=%s port=%d user=funnel dbname=%s", s.o.Dir, s.port, database)
}

// Stop ends the server: SIGINT as a fast shutdown, SIGQUIT at once without one,
// SIGKILL as kill -9 does of the whole server. It returns when it has ended.
func (s *Server) Stop(how syscall.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return nil
	}
	err := s.cmd.Process.Signal(how)
	<-s.ended
	s.cmd = nil
	return err
}

// PID is the process of the server, 0 if it does not run.
func (s *Server) PID() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return 0
	}
	return s.cmd.Process.Pid
}

// Port is what the server listens on.
func (s *Server) Port() int { return s.port }

// Exec executes a statement in a database.
func (s *Server) Exec(ctx context.Context, database, statement string, args ...any) error {
	conn, err := pgx.Connect(ctx, s.local(database))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, statement, args...)
	return errors.Join(err, conn.Close(ctx))
}

// Database makes an empty database and returns its URL.
func (s *Server) Database(ctx context.Context) (string, error) {
	s.mu.Lock()
	s.databases++
	name := fmt.Sprintf("funnel_%d_%d", os.Getpid(), s.databases)
	s.mu.Unlock()
	if err := s.Exec(ctx, "postgres", "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("making a database: %w", err)
	}
	u := url.URL{Scheme: "postgres", User: url.User("funnel"), Host: net.JoinHostPort(s.o.Listen, strconv.Itoa(s.port)), Path: name, RawQuery: "sslmode=disable"}
	return u.String(), nil
}
