//go:build faultpoint

package faultpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Enabled reports whether this build has fault points.
const Enabled = true

// point is what is to happen at one of them.
type point struct {
	kill bool
	name string
	at   int64  // the hit at which it happens, from 1
	file string // of a stop: goes on when it exists
}

// The process has one chosen point, as it has one environment.
var (
	chosen = sync.OnceValue(func() point {
		p, err := parse(os.Getenv(Variable))
		if err != nil {
			panic(fmt.Sprintf("reading %s: %v", Variable, err))
		}
		return p
	})
	hits atomic.Int64
)

// Hit kills or stops here if the environment says so.
func Hit(name string) {
	p := chosen()
	if p.name != name || hits.Add(1) != p.at {
		return
	}
	if p.kill {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {} // the signal is on its way: nothing happens in between
	}
	if err := os.WriteFile(p.file+".reached", nil, 0o600); err != nil {
		panic(fmt.Sprintf("stopping at %s: %v", name, err))
	}
	for {
		if _, err := os.Stat(p.file); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// parse reads "kill NAME N" or "stop NAME N FILE"; of an empty text it makes
// the point that is nowhere.
func parse(text string) (point, error) {
	if text == "" {
		return point{}, nil
	}
	f := strings.Fields(text)
	if len(f) != 3 || f[0] != "kill" {
		if len(f) != 4 || f[0] != "stop" {
			return point{}, fmt.Errorf("%q: want kill NAME N, or stop NAME N FILE", text)
		}
	}
	n, err := strconv.ParseInt(f[2], 10, 64)
	if err != nil || n < 1 {
		return point{}, fmt.Errorf("%q: want a whole number from 1 after the name", text)
	}
	p := point{kill: f[0] == "kill", name: f[1], at: n}
	if !p.kill {
		p.file = f[3]
	}
	return p, nil
}
