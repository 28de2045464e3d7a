package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/docgen"
)

// maxInputFile is how many bytes --input reads at most; the server takes no more.
const maxInputFile = 1 << 20

// runCommand has one command for each action of the build, with a flag for each
// field of its input.
func (p *program) runCommand() *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{
		Use:   "run ACTION",
		Short: "Perform one action on a server: a look-up, a comment, …",
		Long: `Perform one action on a running server and print its outcome. Every field of
the action's input is a flag; "funnel run ACTION --help" shows them. The action
runs as a journalled run with the server's limits, retries and connections.

The environment's FUNNEL_TOKEN is the token, FUNNEL_SERVER or --server the
address.`,
		Example: `  funnel run virustotal.file_report --hash 44d88612fea8a8f36de82e1278abb02f
  funnel run jira.add_comment --issue SIRT-1 --body "Called the user." --json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			if near := config.Suggest(args[0], p.actions()); near != "" {
				return fmt.Errorf("there is no action %q: did you mean %s?", args[0], near)
			}
			return fmt.Errorf("there is no action %q: \"funnel list actions\" shows them", args[0])
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	r.flags(cmd)
	for _, spec := range p.registry.Actions() {
		cmd.AddCommand(p.runAction(r, spec))
	}
	return cmd
}

// long is the action's doc comment, if there is one.
func (p *program) long(spec *funnel.ActionSpec) string {
	text := spec.Summary
	if in, ok := p.registry.Integration(spec.Integration()); ok && in.Doc(spec.Method) != "" {
		text += "\n\n" + in.Doc(spec.Method)
	}
	return fmt.Sprintf("%s\n\nEffect: %s.", text, spec.Effect)
}

func (p *program) actions() (ids []string) {
	for _, spec := range p.registry.Actions() {
		ids = append(ids, spec.ID)
	}
	return ids
}

// caller is what a call is made of, beside its input's fields.
type caller struct {
	connection, key, input string
	wait                   time.Duration
	fresh                  bool
}

func (p *program) runAction(r *remote, spec *funnel.ActionSpec) *cobra.Command {
	var c caller
	cmd := &cobra.Command{
		Use: spec.ID, Short: spec.Summary, Long: p.long(spec), Example: exampleLine(spec), ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%s takes no arguments: the fields of its input are flags, see --help", spec.ID)
			}
			return nil
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	fields := docgen.Fields(spec.Input)
	for _, f := range fields {
		name := docgen.FlagName(f)
		flags.Var(&fieldFlag{kind: f.Type}, name, usage(f))
		if f.Type == "boolean" {
			flags.Lookup(name).NoOptDefVal = "true"
		}
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(f.Enum, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	}
	flags.StringVar(&c.input, "input", "", "the whole input as JSON, @FILE or - for standard input; a field's own flag replaces what it says")
	flags.StringVar(&c.connection, "connection", "", "the connection to use, if there are several of "+spec.Integration())
	flags.DurationVar(&c.wait, "wait", 20*time.Second, "how long to wait for the outcome, at most 60s")
	flags.StringVar(&c.key, "idempotency-key", "", "makes repeats of this call safe: the same key is the same call")
	_ = cmd.RegisterFlagCompletionFunc("connection", r.completeConnections)
	for _, name := range []string{"wait", "idempotency-key"} {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
	if spec.Lookup != nil {
		flags.BoolVar(&c.fresh, "fresh", false, "ask even if the answer to an earlier run is at hand")
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		input, err := readInput(cmd, fields, c.input)
		if err != nil {
			return exitError{exitUsage, err}
		}
		if c.wait < 0 || c.wait > time.Minute {
			return exitError{exitUsage, fmt.Errorf("--wait %s: want 0s to 60s", c.wait)}
		}
		return p.callAction(cmd.Context(), r, spec, c, input)
	}
	return cmd
}

func usage(f docgen.Field) string {
	text := f.Doc
	if f.Example != "" {
		text += ", for example " + f.Example
	}
	if len(f.Enum) > 0 {
		text += ": " + strings.Join(f.Enum, ", ")
	}
	if strings.HasPrefix(f.Type, "list of ") {
		text += " (repeat the flag for more than one)"
	}
	if !f.Optional {
		text += " (needed)"
	}
	return text
}

// fieldFlag is the value of one field as it was typed.
type fieldFlag struct {
	kind string
	text []string
}

func (f *fieldFlag) String() string { return strings.Join(f.text, ",") }

// Type names the type in a flag's help.
func (f *fieldFlag) Type() string {
	return strings.NewReplacer("list of ", "", " ", "-").Replace(f.kind)
}

// Set takes the next value: only lists have several.
func (f *fieldFlag) Set(text string) error {
	if len(f.text) > 0 && !strings.HasPrefix(f.kind, "list of ") {
		return errors.New("given twice")
	}
	f.text = append(f.text, text)
	return nil
}

// value returns the JSON of what was typed.
func (f *fieldFlag) value() (json.RawMessage, error) {
	one := func(kind, text string) (json.RawMessage, error) {
		switch kind {
		case "string", "secret", "duration", "time", "document":
			if kind == "document" && strings.HasPrefix(strings.TrimSpace(text), "{") && json.Valid([]byte(text)) {
				return json.RawMessage(text), nil
			}
			return json.Marshal(text)
		}
		if !json.Valid([]byte(text)) {
			if kind == "integer" || kind == "number" || kind == "boolean" {
				return nil, fmt.Errorf("want %s", article(kind))
			}
			return nil, fmt.Errorf("want %s as JSON", article(kind))
		}
		return json.RawMessage(text), nil
	}
	item, list := strings.CutPrefix(f.kind, "list of ")
	if !list {
		return one(f.kind, f.text[0])
	}
	if len(f.text) == 1 && strings.HasPrefix(f.text[0], "[") && json.Valid([]byte(f.text[0])) {
		return json.RawMessage(f.text[0]), nil
	}
	items := make([]json.RawMessage, len(f.text))
	for i, text := range f.text {
		v, err := one(item, text)
		if err != nil {
			return nil, err
		}
		items[i] = v
	}
	return json.Marshal(items)
}

func article(kind string) string {
	if strings.ContainsRune("aeio", rune(kind[0])) {
		return "an " + kind
	}
	return "a " + kind
}

// exampleLine is a command line that works on the demo, "" if the action has no
// example.
func exampleLine(spec *funnel.ActionSpec) string {
	if line := docgen.CommandLine(spec); line != "" {
		return "  " + line
	}
	return ""
}

// readInput joins --input and the flags of fields.
func readInput(cmd *cobra.Command, fields []docgen.Field, from string) ([]byte, error) {
	members := map[string]json.RawMessage{}
	if from != "" {
		raw, err := readSource(cmd, from)
		if err != nil {
			return nil, fmt.Errorf("reading --input: %w", err)
		}
		if err := json.Unmarshal(raw, &members); err != nil {
			return nil, fmt.Errorf("reading --input: it is not a JSON object: %w", err)
		}
	}
	var err error
	var missing []string
	for _, f := range fields {
		name := docgen.FlagName(f)
		flag := cmd.Flags().Lookup(name)
		if !flag.Changed {
			if _, given := members[f.Name]; !given && !f.Optional {
				missing = append(missing, "--"+name)
			}
			continue
		}
		typed, ok := flag.Value.(*fieldFlag)
		if !ok { // a fault of the program: flagName lets no field have a flag of the command
			return nil, fmt.Errorf("reading --%s: it is no field", name)
		}
		if members[f.Name], err = typed.value(); err != nil {
			return nil, fmt.Errorf("reading --%s: %w", name, err)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: needed; \"%s --help\" tells more", strings.Join(missing, ", "), cmd.CommandPath())
	}
	return json.Marshal(members)
}

func readSource(cmd *cobra.Command, from string) ([]byte, error) {
	var in io.Reader
	switch {
	case from == "-":
		in = cmd.InOrStdin()
	case strings.HasPrefix(from, "@"):
		file, err := os.Open(from[1:])
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in = file
	default:
		return []byte(from), nil
	}
	raw, err := io.ReadAll(io.LimitReader(in, maxInputFile+1))
	if err == nil && len(raw) > maxInputFile {
		err = fmt.Errorf("it is larger than %d bytes", maxInputFile)
	}
	return raw, err
}

// callAction calls the action and prints what became of it: exit code 0 with the
// outcome, 1 if it failed or is not done yet.
func (p *program) callAction(ctx context.Context, r *remote, spec *funnel.ActionSpec, c caller, input []byte) error {
	query := url.Values{"wait": {strconv.Itoa(int(math.Ceil(c.wait.Seconds())))}}
	if c.connection != "" {
		query.Set("connection", c.connection)
	}
	if c.fresh {
		query.Set("fresh", "true")
	}
	header := http.Header{}
	if c.key != "" {
		header.Set("Idempotency-Key", c.key)
	}
	status, location, body, err := r.post(ctx, "/api/v1/actions/"+spec.ID+"?"+query.Encode(), header, input, c.wait+30*time.Second)
	if err != nil {
		return failed(err)
	}
	if r.asJSON && json.Valid(body) {
		err := p.printJSON(body, false)
		if err == nil && status != http.StatusOK {
			return exitError{exitFailed, nil}
		}
		return failed(err)
	}
	switch status {
	case http.StatusOK:
		return failed(p.printOutcome(body))
	case http.StatusAccepted:
		var run runItem
		if err := json.Unmarshal(body, &run); err != nil {
			return failed(unreadable(err))
		}
		text := "run " + run.ID + " is " + run.State
		if run.Why != "" {
			text += ": " + run.Why
		}
		return failed(fmt.Errorf("not done yet: %s; it goes on by itself, see funnel show run %s", clean(text), clean(run.ID)))
	}
	return failed(refusal(status, location, body))
}

// printOutcome prints the members of an outcome line by line, or it as it is.
func (p *program) printOutcome(body []byte) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	open, err := dec.Token()
	if err != nil || open != json.Delim('{') {
		return p.printJSON(body, true)
	}
	var rows [][]string
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return p.printJSON(body, true)
		}
		var v json.RawMessage
		if err := dec.Decode(&v); err != nil {
			return p.printJSON(body, true)
		}
		var text string
		if json.Unmarshal(v, &text) != nil {
			text = string(v)
		}
		rows = append(rows, []string{fmt.Sprint(name), text})
	}
	return table(p.out, []string{"FIELD", "VALUE"}, rows)
}
