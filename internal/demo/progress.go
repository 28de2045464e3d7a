package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
	"github.com/funnelsec/funnel/integrations/mockscan"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

// api asks the server what became of the alerts.
type api struct{ url, token string }

type runView struct {
	ID, Event, Kind, Playbook, State, Step, Why string
}

// runs returns all runs, the oldest first. While the server is down it returns
// an error.
func (a *api) runs(ctx context.Context) ([]runView, error) {
	var list []runView
	for before := ""; ; {
		var page struct {
			Runs []runView `json:"runs"`
			Next string    `json:"next"`
		}
		if err := a.get(ctx, "/api/v1/runs?limit=200"+before, &page); err != nil {
			return nil, err
		}
		list = append(list, page.Runs...)
		if page.Next == "" {
			slices.SortFunc(list, func(x, y runView) int { return number(x.ID) - number(y.ID) })
			return list, nil
		}
		before = "&before=" + page.Next
	}
}

func number(id string) int { n, _ := strconv.Atoi(id); return n }

// ticketOf returns the key of the ticket that an own event is about.
func (a *api) ticketOf(ctx context.Context, event string) string {
	var e struct {
		Data struct {
			Key string `json:"key"`
		} `json:"data"`
	}
	if a.get(ctx, "/api/v1/events/"+event, &e) != nil {
		return ""
	}
	return e.Data.Key
}

func (a *api) get(ctx context.Context, path string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the server answered %s", res.Status)
	}
	return json.NewDecoder(res.Body).Decode(v)
}

// progress shows the runs until everything is done.
type progress struct {
	world  *world
	screen *screen
	api    *api
	keys   map[string]string // tickets by event, once known
}

// watch redraws until ctx ends. When all alerts are played and all runs have
// ended it gives the verdict; with once it then returns.
func (p *progress) watch(ctx context.Context, played <-chan error, alerts []mockscan.Detection, sender *splunkfake.Sender, once bool) error {
	p.keys = map[string]string{}
	tick := time.NewTicker(150 * time.Millisecond)
	defer tick.Stop()
	done, judged, quiet := false, false, 0
	for {
		select {
		case <-ctx.Done():
			if once && !judged {
				return errors.New("the demo was stopped before everything was done")
			}
			return nil
		case err := <-played:
			if err != nil && ctx.Err() == nil {
				return err
			}
			done = true
		case <-tick.C:
		}
		runs, err := p.api.runs(ctx)
		if err != nil {
			quiet = 0
			continue // the server is starting again
		}
		p.screen.show(p.lines(ctx, runs))
		if !done || slices.ContainsFunc(runs, live) {
			quiet = 0
			continue
		}
		if quiet++; quiet < 3 || judged { // a ticket's enrichments follow in the same moment
			continue
		}
		judged = true
		verdict := p.judge(alerts, sender, runs)
		if once {
			return verdict
		}
		if verdict != nil {
			p.screen.note("%v", verdict)
		}
		p.screen.note("Look at the tickets, kill the server, or press Ctrl-C to end.")
	}
}

func live(r runView) bool { return r.State == "queued" || r.State == "running" || r.State == "waiting" }

// lines returns a line for each run, the newest that fit.
func (p *progress) lines(ctx context.Context, runs []runView) []line {
	if room := p.screen.o.Height - 22; p.screen.o.Redraw && len(runs) > max(room, 10) {
		runs = runs[len(runs)-max(room, 10):]
	}
	lines := make([]line, 0, len(runs))
	for _, r := range runs {
		about := "alert " + r.Event
		if r.Playbook != "open_ticket" {
			if p.keys[r.Event] == "" {
				p.keys[r.Event] = p.api.ticketOf(ctx, r.Event)
			}
			about = p.keys[r.Event]
		}
		name := r.Playbook
		if r.Kind != "playbook" {
			name += " (" + r.Kind + ")"
		}
		text := fmt.Sprintf("  run %-3s %-18s %-9s %-10s %s", r.ID, name, about, r.State, r.Why)
		lines = append(lines, line{name: r.ID, text: strings.TrimRight(printable(text), " ")})
	}
	return lines
}

// printable keeps control characters from outside off the terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return ' '
		}
		return r
	}, text)
}

// judge compares what the simulated Splunk was promised with what the simulated
// Jira has. It never asks the server's database.
func (p *progress) judge(alerts []mockscan.Detection, sender *splunkfake.Sender, runs []runView) error {
	acked := map[string]bool{}
	for _, e := range sender.Journal() {
		acked[e.Marker] = acked[e.Marker] || e.Acked
	}
	want, linked, manifold := 0, 0, 0
	for _, d := range alerts {
		if acked[d.ID] && d.Kind != mockscan.Repeat {
			want++
			if d.Link != (mockscan.Link{}) || d.Kind == mockscan.Hostile { // its signature names a URL
				linked++
			}
			if len(d.Rows()) > 1 {
				manifold++
			}
		}
	}
	var faults []string
	issues := p.world.jira.Issues()
	comments, networked, listed := 0, 0, 0
	for _, issue := range issues {
		names := map[string]int{}
		for _, c := range issue.Comments {
			names[commentName(c)]++
			comments++
		}
		for _, name := range []string{"enrich_user", "enrich_host", "enrich_file"} {
			if names[name] != 1 {
				faults = append(faults, fmt.Sprintf("%s has %d comments of %s", issue.Key, names[name], name))
			}
		}
		networked += names["enrich_network"]
		listed += names["show_rows"]
	}
	if len(issues) != want {
		faults = append(faults, fmt.Sprintf("there are %d tickets, and there should be %d", len(issues), want))
	}
	if networked != linked {
		faults = append(faults, fmt.Sprintf("there are %d comments of enrich_network, and there should be %d", networked, linked))
	}
	if listed != manifold {
		faults = append(faults, fmt.Sprintf("there are %d comments of show_rows, and there should be %d", listed, manifold))
	}
	for _, r := range runs {
		if r.State == "failed" {
			faults = append(faults, fmt.Sprintf("run %s (%s) failed: %s", r.ID, r.Playbook, r.Why))
		}
	}
	p.screen.note("%d alerts accepted, %d tickets opened, %d repeats counted on open tickets, %d comments, %d runs.",
		len(acked), len(issues), len(acked)-len(issues), comments, len(runs))
	if len(faults) > 0 {
		return errors.New("not as it should be:\n  " + strings.Join(faults, "\n  "))
	}
	p.screen.note("Every alert has its ticket, every ticket has each comment exactly once.")
	return nil
}

func commentName(c jirafake.Comment) string {
	var mark struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(c.Properties["funnel.comment"], &mark)
	return mark.Name
}
