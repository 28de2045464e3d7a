package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/funnelsec/funnel/internal/demo"
)

func (p *program) demo() *cobra.Command {
	o := demo.Options{}
	cmd := &cobra.Command{
		Use: "demo", Short: "Watch alerts become tickets, with every outside system simulated", Args: noArgs,
		Long: `Start simulated Splunk, Jira, VirusTotal and directory on this machine and a real
server with a database of its own, play a handful of alerts and show what becomes
of them. It needs no account and no configuration, and keeps nothing. It runs
until Ctrl-C, or with --once until everything is done; the exit code is then 0
only if every alert has its ticket and every ticket its comments exactly once.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			program, err := os.Executable()
			if err != nil {
				return failed(fmt.Errorf("finding this program: %w", err))
			}
			o.Program, o.Out = program, p.out
			if f, ok := p.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
				o.Redraw, o.Color = os.Getenv("TERM") != "dumb", os.Getenv("NO_COLOR") == ""
				o.Width, o.Height, _ = term.GetSize(int(f.Fd()))
			}
			return failed(demo.Run(cmd.Context(), o))
		},
	}
	cmd.Flags().BoolVar(&o.Once, "once", false, "end with a summary when everything is done")
	cmd.Flags().IntVar(&o.Alerts, "alerts", 8, "how many alerts are played")
	cmd.Flags().DurationVar(&o.Every, "every", time.Second, "time between two alerts")
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:8080", "address of the server; another port is taken if it is not free")
	return cmd
}
