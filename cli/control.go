package cli

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// control has the commands by which a person decides about a run or an event.
func (p *program) control() []*cobra.Command {
	var playbook string
	replay := p.decision("replay EVENT", "Let playbooks run again for an event", `Let playbooks run again for an event: all that are enabled for its trigger, or the
one of --playbook. What the runs before made stays; a ticket is still one for all
alerts about the same thing.`, "event", func(args []string) (path string, body any) {
		path = "/api/v1/events/" + url.PathEscape(args[0]) + "/replay"
		if playbook != "" {
			path += "?playbook=" + url.QueryEscape(playbook)
		}
		return path, nil
	})
	replay.Flags().StringVar(&playbook, "playbook", "", "only this playbook")
	_ = replay.RegisterFlagCompletionFunc("playbook", p.completePlaybooks()) // the flag is there
	return []*cobra.Command{
		replay,
		p.decision("retry RUN", "Let a failed run go on from the step that failed it", "", "run", func(args []string) (string, any) {
			return "/api/v1/runs/" + url.PathEscape(args[0]) + "/retry", nil
		}),
		p.decision("skip RUN STEP", "Let a failed or waiting run go on without a step", "", "run", func(args []string) (string, any) {
			return "/api/v1/runs/" + url.PathEscape(args[0]) + "/skip", map[string]string{"step": args[1]}
		}),
		p.decision("cancel RUN", "Cancel a run", "", "run", func(args []string) (string, any) {
			return "/api/v1/runs/" + url.PathEscape(args[0]) + "/cancel", nil
		}),
	}
}

func (p *program) decision(use, short, long, kind string, ask func([]string) (path string, body any)) *cobra.Command {
	r := &remote{}
	cmd := &cobra.Command{Use: use, Short: short, Long: long, Args: named(use), ValidArgsFunction: r.completeIDs(kind)}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, v := ask(args)
		body := []byte("{}")
		if v != nil {
			var err error
			if body, err = json.Marshal(v); err != nil {
				return failed(err)
			}
		}
		status, _, answer, err := r.post(cmd.Context(), path, nil, body, 30*time.Second)
		switch {
		case err != nil:
			return failed(err)
		case status != http.StatusOK && status != http.StatusAccepted:
			return failed(refusal(status, "", answer))
		case r.asJSON:
			return failed(p.printJSON(answer, true))
		}
		return failed(p.printRuns(answer))
	}
	r.flags(cmd)
	return cmd
}

// printRuns says how the run of an answer stands, or all of its runs.
func (p *program) printRuns(answer []byte) error {
	var a struct {
		runItem
		Runs []runItem
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return unreadable(err)
	}
	if a.Runs == nil {
		a.Runs = []runItem{a.runItem}
	}
	for _, run := range a.Runs {
		fmt.Fprintf(p.out, "run %s of %s is %s\n", clean(run.ID), clean(run.Playbook), clean(run.State))
	}
	return nil
}
