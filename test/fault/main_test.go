// Package fault kills the server and looks, from the outside, at what became of
// the alerts: the verdict compares the journals of the simulated systems, never
// the server's own database.
//
//	go test -count=1 -v ./test/fault -fault
//	go test -count=1 -v -timeout 30m -run 'TestStorm$' ./test/fault -long
package fault

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/cli"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/engine"
	"github.com/funnelsec/funnel/playbooks"
)

var (
	full = flag.Bool("fault", false, "run at the size of CI")
	long = flag.Bool("long", false, "run the storm at its real size: 2,000 alerts, 50 files, 4 look-ups a minute, some 14 minutes")
	seed = flag.Uint64("seed", 1, "seed of the kills and of the fakes' misbehaviour")
)

// The environment of a child, which is this test program run as a server.
const (
	childConfig = "FUNNEL_FAULT_CONFIG" // path of its configuration
	childBlind  = "FUNNEL_FAULT_BLIND"  // not empty: never look an unsure effect up, and soon take it for not made
	childArgs   = "FUNNEL_FAULT_ARGS"   // another command line than serve's, apart by spaces
	childEager  = "FUNNEL_FAULT_EAGER"  // not empty: journal that a request leaves only after it has
)

func TestMain(m *testing.M) {
	if args := os.Getenv(childArgs); args != "" {
		os.Exit(cli.Main(registry(), strings.Fields(args)))
	}
	if path := os.Getenv(childConfig); path != "" {
		if os.Getenv(childBlind)+os.Getenv(childEager) == "" {
			r := registry()
			if journal := os.Getenv(childPoison); journal != "" {
				r = poisoned(r, journal)
			}
			os.Exit(cli.Main(r, []string{"serve", "--config", path, "--exit-with-stdin"}))
		}
		if err := serve(path); err != nil {
			fmt.Fprintln(os.Stderr, "server:", err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	os.Exit(m.Run())
}

func registry() *funnel.Registry {
	return funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
}

// serve is the shipped server with a control taken away. It ends with its
// standard input, as the other children do, so that none outlives the test.
func serve(path string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
	c, err := config.Load(path, os.Getenv)
	if err != nil {
		return err
	}
	o := app.Options{Config: c, Registry: registry(), Log: slog.NewTextHandler(os.Stderr, nil), Notices: io.Discard}
	switch {
	case os.Getenv(childBlind) != "":
		o.Engine = func(e *engine.Options) { e.Lookups, e.Quiet = nil, time.Second }
	case os.Getenv(childEager) != "":
		o.Engine = func(e *engine.Options) { e.Journal = eager{e.Journal} }
	}
	a, err := app.New(ctx, o)
	if err != nil {
		return err
	}
	if err := a.Start(ctx); err != nil {
		return err
	}
	<-ctx.Done()
	drain, done := context.WithTimeout(context.Background(), 20*time.Second)
	defer done()
	return a.Stop(drain)
}

// smallTogether has runs of the small size go on at the same time, for they mostly
// wait. At the other sizes the figures count.
func smallTogether(t *testing.T) {
	if !*full && !*long {
		t.Parallel()
	}
}
