package cli

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// completion is a function that offers words to a shell.
type completion = func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective)

// completeWithin is how long a shell waits for the server's words.
const completeWithin = 2 * time.Second

// offer reads a list for completion. A server that cannot be asked offers nothing.
func (r *remote) offer(ctx context.Context, path string, v any) bool {
	status, _, body, err := r.ask(ctx, http.MethodGet, path, nil, nil, completeWithin)
	return err == nil && status == http.StatusOK && json.Unmarshal(body, v) == nil
}

// completeIDs offers the latest runs, events or deliveries of the server for a
// command's first argument.
func (r *remote) completeIDs(kind string) completion {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		query := url.Values{"limit": {"30"}}
		if cmd.Name() == "retry" || cmd.Name() == "skip" {
			query.Set("state", "failed")
		}
		var page map[string]json.RawMessage
		var items []struct{ ID, Playbook, State, Trigger, Source, Verdict string }
		list := map[string]string{"run": "runs", "event": "events", "delivery": "deliveries"}[kind]
		if len(args) > 0 || !r.offer(cmd.Context(), "/api/v1/"+list+"?"+query.Encode(), &page) || json.Unmarshal(page[list], &items) != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var words []cobra.Completion
		for _, x := range items {
			about := map[string]string{"run": x.Playbook + ", " + x.State, "event": x.Trigger + " from " + x.Source, "delivery": x.Verdict + ", from " + x.Source}[kind]
			words = append(words, cobra.CompletionWithDesc(clean(x.ID), clean(about)))
		}
		return words, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveKeepOrder
	}
}

// completeConnections offers the names of the server's connections.
func (r *remote) completeConnections(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	var status struct {
		Connections []struct{ Name, Health string }
	}
	var words []cobra.Completion
	if r.offer(cmd.Context(), "/status", &status) {
		for _, c := range status.Connections {
			words = append(words, cobra.CompletionWithDesc(clean(c.Name), clean(c.Health)))
		}
	}
	return words, cobra.ShellCompDirectiveNoFileComp
}

// completePlaybooks offers the build's playbooks.
func (p *program) completePlaybooks() completion {
	var words []cobra.Completion
	for _, b := range p.registry.Playbooks() {
		words = append(words, cobra.CompletionWithDesc(b.Name, b.Summary))
	}
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// offerWords offers fixed words for a flag that the command has.
func offerWords(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}
