// Package demo shows Funnel on a laptop without any vendor's account: it keeps
// simulated systems and the data directory, runs the server as a child process
// that may be killed at any time, plays alerts and shows what becomes of them.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/funnelsec/funnel/integrations/mockscan"
	"github.com/funnelsec/funnel/integrations/splunk/splunkfake"
)

// Options set the demo up.
type Options struct {
	Program string // of the server; run as PROGRAM serve --config …
	Listen  string // of the server; another port is taken if it is not free
	Alerts  int    // how many are played
	Every   time.Duration
	Once    bool // end with a summary when everything is done
	Out     io.Writer
	Redraw  bool // Out is a terminal that can redraw lines
	Color   bool
	Width   int // of the terminal, in characters
	Height  int // of the terminal, in lines
}

// Run plays the demo until ctx ends, or with Once until everything is done. It
// returns an error if something was lost or made twice.
func Run(ctx context.Context, o Options) error {
	dir, err := os.MkdirTemp("", "funnel-demo-")
	if err != nil {
		return fmt.Errorf("making the demo's directory: %w", err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	alerts := detections(o.Alerts)
	w, err := newWorld(workstations(alerts))
	if err != nil {
		return err
	}
	defer w.close()
	listen, err := FreeAddress(o.Listen)
	if err != nil {
		return err
	}
	path, env, hooks, err := w.configuration(dir, listen)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, "server.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the server's log: %w", err)
	}
	defer func() { _ = log.Close() }()

	server := "http://" + listen
	w.jira.SetWebhook(server+"/hooks/jira", hooks.jira)
	s := newScreen(o)
	c := &child{
		program: o.Program, args: []string{"serve", "--config", path, "--exit-with-stdin"}, env: env, log: log, url: server,
		died: func(n int) { s.note("The server died. It is started again (%d).", n) },
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	go func() { failed <- c.run(ctx); cancel() }()
	if err := c.ready(ctx); err != nil {
		return errors.Join(<-failed, tail(log.Name()))
	}
	token, err := os.ReadFile(filepath.Join(dir, "data", "first-run-token"))
	if err != nil {
		return fmt.Errorf("reading the server's first token: %w", err)
	}
	p := &progress{world: w, screen: s, api: &api{url: server, token: strings.TrimSpace(string(token))}}
	pid, _ := c.state()
	s.intro(w, server, filepath.Join(dir, "server.log"), strings.TrimSpace(string(token)), pid, o)

	sender := splunkfake.New(splunkfake.Options{URL: server + "/hooks/splunk/" + hooks.splunk, Web: w.splunkURL, Search: w.splunk})
	played := make(chan error, 1)
	go func() {
		played <- w.play(ctx, sender, alerts, o.Every, func(d mockscan.Detection, ok bool) {
			if !ok {
				s.note("%s was not answered; Splunk's administrator sends it again.", d.ID)
			}
		})
	}()
	err = p.watch(ctx, played, alerts, sender, o.Once)
	cancel()
	if serverErr := <-failed; serverErr != nil {
		return errors.Join(serverErr, tail(log.Name()))
	}
	return err
}

// tail returns the end of the server's log as an error, to show why it failed.
func tail(path string) error {
	b, err := os.ReadFile(path)
	if err != nil || len(b) == 0 {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return fmt.Errorf("the server's log ends with:\n%s", strings.Join(lines[max(0, len(lines)-10):], "\n"))
}
