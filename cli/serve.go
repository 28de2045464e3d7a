package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
)

func (p *program) serve() *cobra.Command {
	var path, format string
	var withStdin bool
	cmd := &cobra.Command{
		Use: "serve", Short: "Run the server", Args: noArgs,
		Long: `Run the server until SIGINT or SIGTERM. It then says that it is not ready,
accepts for server.drain_delay longer, lets running steps finish for up to
server.drain_limit and ends; a second signal ends it at once, which loses nothing.
SIGHUP has it read the configuration again; a bad one changes nothing. Exit code
78 means that the configuration or the data directory has to be mended first.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			handler, err := logHandler(p.err, format)
			if err != nil {
				return exitError{exitUsage, err}
			}
			ctx := cmd.Context()
			if withStdin {
				var cancel context.CancelFunc
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
				go func() { _, _ = io.Copy(io.Discard, os.Stdin); cancel() }()
			}
			return p.serveUntil(ctx, path, handler)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "funnel.yaml", "configuration file")
	cmd.Flags().StringVar(&format, "log", "text", "format of the log on standard error: text or json")
	cmd.Flags().BoolVar(&withStdin, "exit-with-stdin", false, "end when standard input is closed")
	_ = cmd.Flags().MarkHidden("exit-with-stdin")
	return cmd
}

func logHandler(w io.Writer, format string) (slog.Handler, error) {
	switch format {
	case "text":
		return slog.NewTextHandler(w, nil), nil
	case "json":
		return slog.NewJSONHandler(w, nil), nil
	}
	return nil, fmt.Errorf("--log %q: want text or json", format)
}

// maxStack is how large a goroutine's stack may get. Nothing of ours comes near it;
// what does is a recursion without an end, which is to crash the server before it
// takes the machine's memory.
const maxStack = 128 << 20

// gcPercent has the garbage of a server of some megabytes collected half as often as
// Go would: each time, everybody waits a little. GOGC in the environment says otherwise.
const gcPercent = 200

func (p *program) serveUntil(ctx context.Context, path string, handler slog.Handler) error {
	debug.SetMaxStack(maxStack)
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	hangup := make(chan os.Signal, 1) // first: by default, the signal ends the process
	signal.Notify(hangup, syscall.SIGHUP)
	defer signal.Stop(hangup)
	c, err := config.Load(path, os.Getenv)
	if err != nil {
		return exitError{exitConfig, err}
	}
	a, err := app.New(ctx, app.Options{Config: c, Registry: p.registry, Version: Version(), Log: handler, Notices: p.err})
	if errors.Is(err, app.ErrAway) { // nothing to mend here: a supervisor may try again
		return exitError{exitFailed, err}
	}
	if err != nil {
		return exitError{exitConfig, err}
	}
	startErr := a.Start(ctx)
	for startErr == nil && ctx.Err() == nil {
		select {
		case <-hangup:
			// What went wrong is in the log and in the status.
			_ = a.Reload(ctx, func() (*config.Config, error) { return config.Load(path, os.Getenv) })
		case <-ctx.Done():
		}
	}
	return failed(errors.Join(startErr, a.Stop(context.WithoutCancel(ctx))))
}

func (p *program) check() *cobra.Command {
	var path string
	var connect bool
	cmd := &cobra.Command{
		Use: "check", Short: "Check the configuration", Args: noArgs,
		Long: `Check the configuration against the integrations, triggers and playbooks of
this build. No secret is read and nobody is contacted, unless --connect is given:
then each connected system is asked whether it accepts the credential and has what
settings of playbooks name, such as projects and issue types; nothing is changed.
Exit code 78 means that something has to be mended.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(path, os.Getenv)
			if err == nil {
				err = app.Check(c, p.registry)
			}
			if err != nil {
				return exitError{exitConfig, err}
			}
			if connect {
				if err := app.CheckConnections(cmd.Context(), app.Options{Config: c, Registry: p.registry, Version: Version()}, p.out); err != nil {
					return exitError{exitConfig, err}
				}
			}
			fmt.Fprintf(p.out, "%s is fine: %d connections, %d sources\n", path, len(c.Connections), len(c.Sources))
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "funnel.yaml", "configuration file")
	cmd.Flags().BoolVar(&connect, "connect", false, "ask the connected systems too")
	return cmd
}
