package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel/internal/docgen"
)

func (p *program) show() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use: "show", Short: "Show one run, event or delivery of a server, or the reference of this build", Args: noArgs,
		Example: "  funnel show run 42\n  funnel show event 17 --json",
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	r.flags(cmd)
	cmd.AddCommand(
		p.showing(r, "run", "Show a run with its steps: input, outcome, attempts, why it waits", p.showRun),
		p.showing(r, "event", "Show an event with everything that became of it", p.showEvent),
		p.showing(r, "delivery", "Show a delivery and the event that it brought", p.showDelivery),
		&cobra.Command{Use: "reference", Short: "Print the reference of all integrations and playbooks as Markdown", Args: noArgs, RunE: func(*cobra.Command, []string) error {
			_, err := p.out.Write(docgen.Reference(p.registry))
			return failed(err)
		}},
	)
	return cmd
}

// showing is a command that shows one thing of the server.
func (p *program) showing(r *remote, kind, short string, show func(ctx context.Context, r *remote, id string) error) *cobra.Command {
	use := kind + " ID"
	return &cobra.Command{Use: use, Short: short, Args: named(use), ValidArgsFunction: r.completeIDs(kind), RunE: func(cmd *cobra.Command, args []string) error {
		return failed(show(cmd.Context(), r, args[0]))
	}}
}

type stepItem struct {
	Path, Action, Connection, State, Code, Error string
	Attempts                                     int
	Input, Outcome                               json.RawMessage
	StartedAt                                    *time.Time `json:"started_at"`
	EndedAt                                      *time.Time `json:"ended_at"`
	AskedAt                                      *time.Time `json:"asked_at"`
	NextAt                                       *time.Time `json:"next_at"`
}

func (p *program) showRun(ctx context.Context, r *remote, id string) error {
	var run struct {
		runItem
		Steps []stepItem `json:"steps"`
	}
	raw, err := r.get(ctx, "/api/v1/runs/"+url.PathEscape(id), &run)
	if err != nil {
		return err
	}
	if r.asJSON {
		return p.printJSON(raw, true)
	}
	fmt.Fprintf(p.out, "Run %s of playbook %s for event %s: %s\n", clean(run.ID), clean(run.Playbook), clean(run.Event), clean(run.State))
	if run.Why != "" {
		fmt.Fprintf(p.out, "Why: %s\n", clean(run.Why))
	}
	if w := run.Waits; w != nil {
		text := "Waits for: " + w.For + " " + w.Name
		if w.Why != "" {
			text += " (" + w.Why + ")"
		}
		if w.Until != nil {
			text += ", until " + w.Until.Local().Format(time.DateTime)
		}
		fmt.Fprintln(p.out, clean(text))
	}
	var rows [][]string
	for _, s := range run.Steps {
		took := ""
		if s.StartedAt != nil && s.EndedAt != nil {
			took = s.EndedAt.Sub(*s.StartedAt).Round(time.Millisecond).String()
		}
		if s.AskedAt != nil {
			took += ", answer of " + s.AskedAt.Local().Format(time.DateTime)
		}
		rows = append(rows, []string{s.Path, s.Action, s.Connection, s.State, strconv.Itoa(s.Attempts), took, s.Error})
	}
	fmt.Fprintln(p.out)
	if err := table(p.out, []string{"STEP", "ACTION", "CONNECTION", "STATE", "RETRIES", "TOOK", "ERROR"}, rows); err != nil {
		return err
	}
	for _, s := range run.Steps {
		fmt.Fprintf(p.out, "\n%s\n", clean(s.Path))
		if len(s.Input) > 0 {
			fmt.Fprintf(p.out, "  input   %s\n", clean(string(s.Input)))
		}
		if len(s.Outcome) > 0 {
			fmt.Fprintf(p.out, "  outcome %s\n", clean(string(s.Outcome)))
		}
	}
	return nil
}
