package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/internal/config"
	"github.com/funnelsec/funnel/internal/metrics"
	"github.com/funnelsec/funnel/internal/secret"
)

// The distances between two checks of what playbooks name: short until the system
// has answered, longer while something is missing, longest while all is there.
const (
	firstRecheck   = time.Second
	failedRecheck  = 5 * time.Minute
	unmetRecheck   = 10 * time.Minute
	fineRecheck    = 6 * time.Hour
	longestConnect = time.Minute // of one check of one connection
)

// use is a funnel.Use with the playbook whose settings make it.
type use struct {
	playbook string
	funnel.Use
}

// usesOf returns what the enabled playbooks name in the systems of an integration.
func usesOf(c *config.Config, r *funnel.Registry, settings map[string][]byte, integration string) ([]use, error) {
	var list []use
	for _, p := range r.Playbooks() {
		if configured, ok := c.Playbooks[p.Name]; ok && !configured.Enabled {
			continue
		}
		uses, err := p.Uses(settings[p.Name])
		if err != nil {
			return nil, fmt.Errorf("reading the options of playbook %s: %w", p.Name, err)
		}
		for _, u := range uses {
			if u.Integration == integration {
				list = append(list, use{p.Name, u})
			}
		}
	}
	return list, nil
}

// checked is what the latest check of a connection found.
type checked struct {
	at       time.Time // when the system last answered; zero: never
	problems []string
}

// checkUses asks one connection about the uses. The problems are sentences for
// people that name the playbook, the setting and what there is instead.
func checkUses(ctx context.Context, client any, uses []use) (problems []string, err error) {
	checker, ok := client.(funnel.UseChecker)
	if !ok || len(uses) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, longestConnect)
	defer cancel()
	asked := make([]funnel.Use, len(uses))
	for i, u := range uses {
		asked[i] = u.Use
	}
	unmet, err := checker.CheckUses(ctx, asked)
	if err != nil {
		return nil, err
	}
	for _, m := range unmet {
		problems = append(problems, problemText(uses, m))
	}
	return problems, nil
}

func problemText(uses []use, m funnel.Unmet) string {
	var names []string
	for _, u := range uses {
		if u.Kind == m.Use.Kind && u.Name == m.Use.Name && u.Setting == m.Use.Setting && slices.Equal(u.Within, m.Use.Within) && !slices.Contains(names, u.playbook) {
			names = append(names, u.playbook)
		}
	}
	text := fmt.Sprintf("playbook %s, setting %s: %s", strings.Join(names, ", "), m.Use.Setting, m.Problem)
	if near := config.Suggest(m.Use.Name, m.Instead); near != "" {
		text += fmt.Sprintf("; did you mean %s?", near)
	}
	if n := len(m.Instead); n > 0 {
		text += "; there is " + strings.Join(m.Instead[:min(n, 20)], ", ")
		if n > 20 {
			text += fmt.Sprintf(" and %d more", n-20)
		}
	}
	return text
}

// watchUses checks in the background what playbooks name, again and again: a system
// that is down must not keep the server from starting, and what is missing may come.
func (a *App) watchUses(ctx context.Context, s *setup) {
	for name, l := range s.links {
		uses, err := usesOf(s.config, a.o.Registry, s.settings, l.Integration)
		if err != nil {
			a.log.Error("what playbooks name cannot be checked", "connection", name, "error", err)
			continue
		}
		if _, ok := l.Client.(funnel.UseChecker); !ok || len(uses) == 0 {
			continue
		}
		a.background(func() {
			for wait := firstRecheck; ; {
				problems, err := l.checkUses(ctx, uses)
				next := wait
				switch {
				case ctx.Err() != nil:
					return
				case err != nil:
					wait = min(2*wait, failedRecheck)
					a.log.Warn("what playbooks name could not be checked yet", "connection", name, "error", err, "again_in", next)
				default:
					l.tellUses(a, name, checked{a.o.Clock(), problems})
					if wait, next = firstRecheck, fineRecheck; len(problems) > 0 {
						next = unmetRecheck
					}
				}
				select {
				case <-ctx.Done():
					return
				case <-time.After(next):
				}
			}
		})
	}
}

// checkUses asks the connection within its limits, as one action.
func (l *link) checkUses(ctx context.Context, uses []use) ([]string, error) {
	leave, err := l.Gate.Enter(ctx)
	if err != nil {
		return nil, err
	}
	problems, err := checkUses(ctx, l.Client, uses)
	leave(err)
	return problems, err
}

// tellUses keeps the outcome of a check for the status, and logs what is new.
func (l *link) tellUses(a *App, name string, now checked) {
	before := l.uses.Swap(&now)
	for _, p := range now.problems {
		if before == nil || !slices.Contains(before.problems, p) {
			a.log.Error("a playbook names what the connected system does not have", "connection", name, "problem", p)
		}
	}
	if before != nil && len(before.problems) > 0 && len(now.problems) == 0 {
		a.log.Info("all that playbooks name is there now", "connection", name)
	}
}

// CheckConnections connects to all configured systems as a server would, asks each
// whether it accepts the credential and has what playbooks name, and writes a line
// for each to out. It changes nothing. The error says how many have a problem.
func CheckConnections(ctx context.Context, o Options, out io.Writer) error {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	a := &App{o: o, metrics: metrics.New(), log: slog.New(slog.DiscardHandler)}
	links, err := a.connect(ctx, o.Config, nil)
	if err != nil {
		return err
	}
	defer (&setup{links: links}).close(nil)
	settings, err := a.settings(o.Config)
	if err != nil {
		return err
	}
	redact, bad := secret.NewRedactor(a.secrets...), 0
	for _, name := range sortedLinks(links) {
		l := links[name]
		uses, err := usesOf(o.Config, o.Registry, settings, l.Integration)
		if err != nil {
			return err
		}
		text, problems := l.answers(ctx, uses)
		fmt.Fprintf(out, "%s (%s): %s\n", strings.TrimPrefix(name, "~"), l.Integration, text)
		for _, p := range problems {
			fmt.Fprintf(out, "  %s\n", redact.Redact(p))
		}
		if len(problems) > 0 {
			bad++
		}
	}
	if bad > 0 {
		return fmt.Errorf("checking the connections: %d of %d need attention", bad, len(links))
	}
	return nil
}

// answers says how a connection does, and what is wrong with it.
func (l *link) answers(ctx context.Context, uses []use) (text string, problems []string) {
	checker, ok := l.Client.(funnel.Checker)
	if ok {
		ctx, cancel := context.WithTimeout(ctx, longestConnect)
		defer cancel()
		if err := checker.Check(ctx); err != nil {
			return "does not answer as it should", []string{err.Error()}
		}
	}
	problems, err := checkUses(ctx, l.Client, uses)
	switch {
	case err != nil:
		return "answers, but what playbooks name could not be checked", []string{err.Error()}
	case len(problems) > 0:
		return "answers, but lacks what playbooks name", problems
	case !ok:
		return "not asked: asking would cost or change something", nil
	}
	return "answers", nil
}

func sortedLinks(links map[string]*link) []string {
	names := make([]string, 0, len(links))
	for name := range links {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
