// Package cli is Funnel's command line. Main takes the registry of a build, so
// that a build with other integrations has the same commands.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
)

// The exit codes.
const (
	exitFailed = 1
	exitAtOnce = 3
	exitUsage  = 2
	exitConfig = 78 // EX_CONFIG of sysexits.h: do not restart, mend the configuration
)

// program is what the commands share.
type program struct {
	registry *funnel.Registry
	out, err io.Writer
}

// Main runs the command line and returns the exit code.
func Main(registry *funnel.Registry, args []string) int {
	p := &program{registry: registry, out: os.Stdout, err: os.Stderr}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	go func() {
		<-signals
		cancel()
		<-signals // a second one ends the process at once, also as process 1, which has no default for it
		fmt.Fprintln(p.err, "funnel: ended at once by a second signal")
		os.Exit(exitAtOnce)
	}()
	return p.run(ctx, args)
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	root.SetOut(p.out)
	root.SetErr(p.err)
	err := root.ExecuteContext(ctx)
	var code exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		if code.err != nil {
			fmt.Fprintf(p.err, "funnel: %v\n", code.err)
		}
		return code.code
	}
	fmt.Fprintf(p.err, "funnel: %v\n", err)
	return exitUsage
}

// exitError is an error with its exit code; a nil err has been shown already.
type exitError struct {
	code int
	err  error
}

// Error returns the text of the cause.
func (e exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

// Unwrap returns the cause.
func (e exitError) Unwrap() error { return e.err }

func failed(err error) error {
	var known exitError
	if err == nil || errors.As(err, &known) {
		return err
	}
	return exitError{exitFailed, err}
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "funnel",
		Short: "Security automation: alerts become enriched tickets, durably",
		Long: `Funnel takes alerts by webhook, stores them durably, opens one ticket for each
and writes on the ticket what other systems know about the user, the file and
the host. Start with "funnel demo": it needs no account anywhere.`,
		Example: `  funnel demo                       # everything simulated on this machine
  funnel check && funnel serve      # funnel.yaml of the folder
  funnel list runs --state failed   # what needs attention
  source <(funnel completion bash)  # completes actions, their fields, runs and events`,
		SilenceErrors: true, SilenceUsage: true,
	}
	root.SetFlagErrorFunc(suggestFlag)
	root.AddCommand(p.serve(), p.demo(), p.check(), p.list(), p.show(), p.runCommand(), p.token(), p.backup(), p.restore(), p.doctor(), p.version())
	root.AddCommand(p.control()...)
	return root
}

// suggestFlag tells what an unknown flag was probably meant to be.
func suggestFlag(cmd *cobra.Command, err error) error {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return err
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if near := config.Suggest(unknown.GetSpecifiedName(), names); near != "" {
		return fmt.Errorf("%w: did you mean --%s?", err, near)
	}
	return fmt.Errorf("%w: \"%s --help\" shows the flags", err, cmd.CommandPath())
}

// noArgs refuses arguments, and says so.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case !cmd.HasAvailableSubCommands():
		return fmt.Errorf("%s takes no arguments, see \"%[1]s --help\"", cmd.CommandPath())
	}
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	if near := config.Suggest(args[0], names); near != "" {
		return fmt.Errorf("%s: there is no %q: did you mean %s?", cmd.CommandPath(), args[0], near)
	}
	return fmt.Errorf("%s: there is no %q: want %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
}

// named checks that there are as many arguments as a command's usage names.
func named(use string) cobra.PositionalArgs {
	want := strings.Fields(use)[1:]
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != len(want) {
			return fmt.Errorf("%s: want %s", cmd.CommandPath(), strings.Join(want, " and "))
		}
		return nil
	}
}

func (p *program) version() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: noArgs,
		Run: func(*cobra.Command, []string) { fmt.Fprintf(p.out, "funnel %s\n", Version()) },
	}
}

// Version returns the version that the binary was built as.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" || info.Main.Version == "(devel)" {
		return "devel"
	}
	return info.Main.Version
}
