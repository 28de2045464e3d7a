package demo

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"time"
)

// child is the server's process. It is started again whenever it dies, so that
// killing it is part of the demo.
type child struct {
	program string
	args    []string
	env     []string
	log     io.Writer
	url     string
	died    func(restarts int)

	mu       sync.Mutex
	pid      int
	restarts int
}

// run keeps the process going until ctx ends, then drains it.
func (c *child) run(ctx context.Context) error {
	for quick := 0; ; {
		begun := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if quick++; time.Since(begun) > 2*time.Second {
			quick = 0
		}
		if quick >= 3 {
			return fmt.Errorf("the server ends as soon as it starts: %w", err)
		}
		c.mu.Lock()
		c.restarts++
		n := c.restarts
		c.mu.Unlock()
		c.died(n)
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return nil
		}
	}
}

// once runs the process to its end. Its standard input stays open as long as we
// live: it ends when we do, however we end.
func (c *child) once(ctx context.Context) error {
	cmd := exec.Command(c.program, c.args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = c.env, c.log, c.log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the server: %w", err)
	}
	c.mu.Lock()
	c.pid = cmd.Process.Pid
	c.mu.Unlock()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	_ = cmd.Process.Signal(os.Interrupt)
	select {
	case err := <-ended:
		return err
	case <-time.After(10 * time.Second):
		_ = stdin.Close()
		_ = cmd.Process.Kill()
		return <-ended
	}
}

// state returns the process ID and how often the server was started again.
func (c *child) state() (pid, restarts int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pid, c.restarts
}

// ready waits until the server can accept.
func (c *child) ready(ctx context.Context) error {
	for {
		if res, err := http.Get(c.url + "/readyz"); err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}
