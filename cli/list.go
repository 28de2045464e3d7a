package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel/internal/record"
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
build can do (integrations, actions, triggers, playbooks). All of it as JSON with
--json.`,
		Example: "  funnel list runs --state failed\n  funnel list deliveries --verdict refused --since 24h\n  funnel list actions",
		Args:    noArgs,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	r.flags(cmd)
	cmd.AddCommand(p.listRuns(r), p.listEvents(r), p.listDeliveries(r))
	cmd.AddCommand(p.offline(r, "integrations", "List the integrations", []string{"INTEGRATION", "SUMMARY"}, func() (rows [][]string) {
		for _, in := range p.registry.Integrations() {
			rows = append(rows, []string{in.Name, in.Summary})
		}
		return rows
	}))
	cmd.AddCommand(p.offline(r, "actions", "List the actions", []string{"ACTION", "EFFECT", "SUMMARY"}, func() (rows [][]string) {
		for _, s := range p.registry.Actions() {
			rows = append(rows, []string{s.ID, string(s.Effect), s.Summary})
		}
		return rows
	}))
	cmd.AddCommand(p.offline(r, "triggers", "List the triggers", []string{"TRIGGER", "SUMMARY"}, func() (rows [][]string) {
		for _, s := range p.registry.Triggers() {
			rows = append(rows, []string{s.ID, s.Summary})
		}
		return rows
	}))
	cmd.AddCommand(p.offline(r, "playbooks", "List the playbooks", []string{"PLAYBOOK", "TRIGGER", "SUMMARY"}, func() (rows [][]string) {
		for _, b := range p.registry.Playbooks() {
			rows = append(rows, []string{b.Name, b.Trigger.ID, b.Summary})
		}
		return rows
	}))
	return cmd
}

// offline is a command that lists what the build can do. Its JSON is a list of
// objects, with the columns in small letters.
func (p *program) offline(r *remote, name, short string, header []string, list func() [][]string) *cobra.Command {
	return &cobra.Command{Use: name, Short: short, Args: noArgs, RunE: func(*cobra.Command, []string) error {
		rows := list()
		if !r.asJSON {
			return failed(table(p.out, header, rows))
		}
		out := make([]map[string]string, len(rows))
		for i, row := range rows {
			out[i] = map[string]string{}
			for k, cell := range row {
				out[i][strings.ToLower(header[k])] = cell
			}
		}
		b, err := json.Marshal(out)
		if err == nil {
			err = p.printJSON(b, false)
		}
		return failed(err)
	}}
}

// filter is a flag that narrows a list.
type filter struct {
	name, usage string
	words       []string   // the only ones; nil: any text
	offer       completion // what a shell offers for any text; nil: nothing
}

// listing is a command that lists a resource of the server, a page at a time.
func (p *program) listing(r *remote, name, short string, header []string, filters []filter, row func(json.RawMessage) ([]string, error)) *cobra.Command {
	var limit int
	var since, until, before string
	cmd := &cobra.Command{Use: name, Short: short, Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions}
	flags := cmd.Flags()
	flags.SortFlags = false
	values := make([]string, len(filters))
	for i, f := range filters {
		usage := f.usage
		if f.words != nil && len(f.words) < 8 {
			usage += ": " + strings.Join(f.words, ", ")
		}
		flags.StringVar(&values[i], f.name, "", usage)
		if f.offer == nil {
			f.offer = cobra.FixedCompletions(f.words, cobra.ShellCompDirectiveNoFileComp)
		}
		_ = cmd.RegisterFlagCompletionFunc(f.name, f.offer) // the flag is there
	}
	timed := name != "runs"
	if timed {
		flags.StringVar(&since, "since", "", "only what came then or later: a time such as 2026-11-23T00:00:00Z, a day, or how long ago, such as 2h")
		flags.StringVar(&until, "until", "", "only what came before, likewise")
		offerWords(cmd, "since")
		offerWords(cmd, "until")
	}
	flags.IntVar(&limit, "limit", 50, "how many, the newest first (at most 200)")
	flags.StringVar(&before, "before", "", "only what is older than this id: the next page")
	offerWords(cmd, "limit")
	offerWords(cmd, "before")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 || limit > 200 {
			return exitError{exitUsage, fmt.Errorf("--limit %d: want 1 to 200", limit)}
		}
		q := url.Values{"limit": {strconv.Itoa(limit)}}
		for i, f := range filters {
			switch {
			case values[i] == "":
			case f.words != nil && !slices.Contains(f.words, values[i]):
				return exitError{exitUsage, fmt.Errorf("--%s %q: want one of %s", f.name, values[i], strings.Join(f.words, ", "))}
			default:
				q.Set(f.name, values[i])
			}
		}
		if before != "" {
			q.Set("before", before)
		}
		for flag, text := range map[string]string{"since": since, "until": until} {
			if text == "" {
				continue
			}
			at, err := readTime(text, time.Now())
			if err != nil {
				return exitError{exitUsage, fmt.Errorf("--%s: %w", flag, err)}
			}
			q.Set(flag, at.UTC().Format(time.RFC3339Nano))
		}
		return failed(p.printList(cmd.Context(), r, "/api/v1/"+name+"?"+q.Encode(), name, header, row))
	}
	return cmd
}

// readTime reads an instant, a day that begins in the local time zone, or how
// long ago.
func readTime(text string, now time.Time) (time.Time, error) {
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if at, err := time.ParseInLocation(time.DateOnly, text, time.Local); err == nil {
		return at, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, fmt.Errorf("%q is no time: want one such as 2026-11-23T00:00:00Z, 2026-11-23, or 2h for two hours ago", text)
	}
	return at, nil
}

func (p *program) printList(ctx context.Context, r *remote, path, name string, header []string, row func(json.RawMessage) ([]string, error)) error {
	var page map[string]json.RawMessage
	raw, err := r.get(ctx, path, &page)
	if err != nil {
		return err
	}
	if r.asJSON {
		return p.printJSON(raw, false)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(page[name], &items); err != nil {
		return unreadable(err)
	}
	var rows [][]string
	for _, item := range items {
		cells, err := row(item)
		if err != nil {
			return unreadable(err)
		}
		rows = append(rows, cells)
	}
	if err := table(p.out, header, rows); err != nil {
		return err
	}
	var next string
	if len(page["next"]) > 0 && json.Unmarshal(page["next"], &next) == nil && next != "" {
		fmt.Fprintf(p.err, "there is more: --before %s\n", clean(next))
	}
	return nil
}

type runItem struct {
	ID, Event, Kind, Parent, Playbook, State, Step, Code, Why string
	CreatedAt                                                 time.Time `json:"created_at"`
	Waits                                                     *struct {
		For, Name, Why string
		Since, Until   *time.Time
	}
}

// states are how a run can stand.
func states() []string {
	return words(record.Queued, record.Running, record.Waiting, record.Succeeded, record.Failed, record.Cancelled)
}

func words[T ~string](list ...T) []string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = string(w)
	}
	return out
}

func (p *program) triggers() (ids []string) {
	for _, s := range p.registry.Triggers() {
		ids = append(ids, s.ID)
	}
	return ids
}

func (p *program) listRuns(r *remote) *cobra.Command {
	cmd := p.listing(r, "runs", "List runs, the newest first", []string{"RUN", "EVENT", "PLAYBOOK", "STATE", "CREATED", "WHY"},
		[]filter{
			{"state", "only those in the state", states(), nil},
			{"playbook", "only those of the playbook", nil, p.completePlaybooks()},
			{"event", "only those for the event", nil, r.completeIDs("event")},
		},
		func(raw json.RawMessage) ([]string, error) {
			var x runItem
			err := json.Unmarshal(raw, &x)
			return []string{x.ID, x.Event, x.name(), x.State, x.CreatedAt.Local().Format(time.DateTime), x.Why}, err
		})
	cmd.Example = "  funnel list runs --state failed\n  funnel list runs --event 17"
	return cmd
}

// name is what runs: a playbook, or what a run of another kind is about.
func (x runItem) name() string {
	switch x.Kind {
	case "playbook":
		return x.Playbook
	case "call":
		return x.Playbook + " (call)"
	}
	return x.Playbook + " (" + x.Kind + " of " + x.Parent + ")"
}

type eventItem struct {
	ID, Source, Trigger, Disposition string
	ReceivedAt                       time.Time `json:"received_at"`
}

func (p *program) listEvents(r *remote) *cobra.Command {
	cmd := p.listing(r, "events", "List events, the newest first", []string{"EVENT", "SOURCE", "TRIGGER", "DISPOSITION", "RECEIVED"},
		[]filter{
			{"disposition", "only those that became", words(record.Matched, record.Unmatched, record.Own, record.Loop), nil},
			{"source", "only those from the source", nil, nil},
			{"trigger", "only those of the trigger", nil, cobra.FixedCompletions(p.triggers(), cobra.ShellCompDirectiveNoFileComp)},
		},
		func(raw json.RawMessage) ([]string, error) {
			var x eventItem
			err := json.Unmarshal(raw, &x)
			return []string{x.ID, x.Source, x.Trigger, x.Disposition, x.ReceivedAt.Local().Format(time.DateTime)}, err
		})
	cmd.Example = "  funnel list events --disposition unmatched   # alerts that no playbook ran for\n  funnel list events --source splunk --since 2h"
	return cmd
}

type deliveryItem struct {
	ID, Source, Verdict, Reason, Event string
	Bytes                              int
	ReceivedAt                         time.Time `json:"received_at"`
}

func (x deliveryItem) row() []string {
	return []string{x.ID, x.Source, x.Verdict, x.Event, strconv.Itoa(x.Bytes), x.ReceivedAt.Local().Format(time.DateTime), x.Reason}
}

func deliveryHeader() []string {
	return []string{"DELIVERY", "SOURCE", "VERDICT", "EVENT", "BYTES", "RECEIVED", "REASON"}
}

func (p *program) listDeliveries(r *remote) *cobra.Command {
	cmd := p.listing(r, "deliveries", "List deliveries, the newest first: every webhook that authenticated, and what became of it", deliveryHeader(),
		[]filter{
			{"verdict", "only those that became", words(record.Accepted, record.Duplicate, record.Evidence, record.Ignored, record.Refused), nil},
			{"source", "only those to the source", nil, nil},
			{"event", "only those that brought the event", nil, r.completeIDs("event")},
		},
		func(raw json.RawMessage) ([]string, error) {
			var x deliveryItem
			err := json.Unmarshal(raw, &x)
			return x.row(), err
		})
	cmd.Example = "  funnel list deliveries --verdict refused\n  funnel list deliveries --source splunk --since 2026-11-23 --limit 200"
	return cmd
}
