package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// table prints rows in columns, cleaned of control characters.
func table(w io.Writer, header []string, rows [][]string) error {
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, strings.Join(header, "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = strings.ReplaceAll(clean(row[i]), "\t", " ")
		}
		fmt.Fprintln(t, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	return t.Flush()
}

func (p *program) list() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, events and deliveries of a server, or what this build can do",
		Long: `List what a running server has (runs, events, deliveries; the environment's
FUNNEL_TOKEN is the token, FUNNEL_SERVER or --server its address), or what this
build can do (integrations, actions, triggers, playbooks).`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	r.flags(cmd)
	cmd.AddCommand(p.listRuns(r), p.listEvents(r), p.listDeliveries(r))
	cmd.AddCommand(p.offline("integrations", "List the integrations", func() ([]string, [][]string) {
		var rows [][]string
		for _, in := range p.registry.Integrations() {
			rows = append(rows, []string{in.Name, in.Summary})
		}
		return []string{"INTEGRATION", "SUMMARY"}, rows
	}))
	cmd.AddCommand(p.offline("actions", "List the actions", func() ([]string, [][]string) {
		var rows [][]string
		for _, s := range p.registry.Actions() {
			rows = append(rows, []string{s.ID, string(s.Effect), s.Summary})
		}
		return []string{"ACTION", "EFFECT", "SUMMARY"}, rows
	}))
	cmd.AddCommand(p.offline("triggers", "List the triggers", func() ([]string, [][]string) {
		var rows [][]string
		for _, s := range p.registry.Triggers() {
			rows = append(rows, []string{s.ID, s.Summary})
		}
		return []string{"TRIGGER", "SUMMARY"}, rows
	}))
	cmd.AddCommand(p.offline("playbooks", "List the playbooks", func() ([]string, [][]string) {
		var rows [][]string
		for _, b := range p.registry.Playbooks() {
			rows = append(rows, []string{b.Name, b.Trigger.ID, b.Summary})
		}
		return []string{"PLAYBOOK", "TRIGGER", "SUMMARY"}, rows
	}))
	return cmd
}

func (p *program) offline(name, short string, rows func() ([]string, [][]string)) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(*cobra.Command, []string) error {
		header, list := rows()
		return failed(table(p.out, header, list))
	}}
}

// listing is a command that lists a resource of the server, page by page up to
// its limit.
func (p *program) listing(r *remote, name, short string, header []string, query func() url.Values, row func(json.RawMessage) ([]string, error)) *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: name, Short: short, Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
		q := query()
		if limit < 1 || limit > 200 {
			return exitError{exitUsage, fmt.Errorf("--limit %d: want 1 to 200", limit)}
		}
		q.Set("limit", strconv.Itoa(limit))
		return failed(p.printList(cmd.Context(), r, "/api/v1/"+name+"?"+q.Encode(), name, header, row))
	}}
	cmd.Flags().IntVar(&limit, "limit", 50, "how many, the newest first (at most 200)")
	return cmd
}

func (p *program) printList(ctx context.Context, r *remote, path, name string, header []string, row func(json.RawMessage) ([]string, error)) error {
	var page map[string]json.RawMessage
	raw, err := r.get(ctx, path, &page)
	if err != nil {
		return err
	}
	if r.asJSON {
		_, err := fmt.Fprintf(p.out, "%s\n", raw)
		return err
	}
	var items []json.RawMessage
	if err := json.Unmarshal(page[name], &items); err != nil {
		return fmt.Errorf("reading the server's answer: %w", err)
	}
	var rows [][]string
	for _, item := range items {
		cells, err := row(item)
		if err != nil {
			return fmt.Errorf("reading the server's answer: %w", err)
		}
		rows = append(rows, cells)
	}
	return table(p.out, header, rows)
}

type runItem struct {
	ID, Event, Kind, Parent, Playbook, State, Step, Code, Why string
	CreatedAt                                                 time.Time `json:"created_at"`
	Waits                                                     *struct {
		For, Name, Why string
		Since, Until   *time.Time
	}
}

func (p *program) listRuns(r *remote) *cobra.Command {
	var state, playbook string
	cmd := p.listing(r, "runs", "List runs, the newest first", []string{"RUN", "EVENT", "PLAYBOOK", "STATE", "CREATED", "WHY"},
		func() url.Values {
			q := url.Values{}
			if state != "" {
				q.Set("state", state)
			}
			if playbook != "" {
				q.Set("playbook", playbook)
			}
			return q
		},
		func(raw json.RawMessage) ([]string, error) {
			var x runItem
			err := json.Unmarshal(raw, &x)
			name := x.Playbook
			switch x.Kind {
			case "playbook":
			case "call":
				name += " (call)"
			default:
				name += " (" + x.Kind + " of " + x.Parent + ")"
			}
			return []string{x.ID, x.Event, name, x.State, x.CreatedAt.Local().Format(time.DateTime), x.Why}, err
		})
	cmd.Flags().StringVar(&state, "state", "", "only those in the state: queued, running, waiting, succeeded, failed or cancelled")
	cmd.Flags().StringVar(&playbook, "playbook", "", "only those of the playbook")
	return cmd
}

func (p *program) listEvents(r *remote) *cobra.Command {
	var disposition string
	cmd := p.listing(r, "events", "List events, the newest first", []string{"EVENT", "SOURCE", "TRIGGER", "DISPOSITION", "RECEIVED"},
		func() url.Values {
			q := url.Values{}
			if disposition != "" {
				q.Set("disposition", disposition)
			}
			return q
		},
		func(raw json.RawMessage) ([]string, error) {
			var x struct {
				ID, Source, Trigger, Disposition string
				ReceivedAt                       time.Time `json:"received_at"`
			}
			err := json.Unmarshal(raw, &x)
			return []string{x.ID, x.Source, x.Trigger, x.Disposition, x.ReceivedAt.Local().Format(time.DateTime)}, err
		})
	cmd.Flags().StringVar(&disposition, "disposition", "", "only those that became: matched, unmatched, own or loop")
	return cmd
}

func (p *program) listDeliveries(r *remote) *cobra.Command {
	var source string
	cmd := p.listing(r, "deliveries", "List deliveries, the newest first", []string{"DELIVERY", "SOURCE", "VERDICT", "EVENT", "BYTES", "RECEIVED", "REASON"},
		func() url.Values {
			q := url.Values{}
			if source != "" {
				q.Set("source", source)
			}
			return q
		},
		func(raw json.RawMessage) ([]string, error) {
			var x struct {
				ID, Source, Verdict, Reason, Event string
				Bytes                              int
				ReceivedAt                         time.Time `json:"received_at"`
			}
			err := json.Unmarshal(raw, &x)
			return []string{x.ID, x.Source, x.Verdict, x.Event, strconv.Itoa(x.Bytes), x.ReceivedAt.Local().Format(time.DateTime), x.Reason}, err
		})
	cmd.Flags().StringVar(&source, "source", "", "only those to the source")
	return cmd
}
