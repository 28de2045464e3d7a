package demo

import (
	"fmt"
	"strings"
	"sync"
	"unicode/utf8"
)

// screen shows notes and below them, on a terminal, a block of lines that is
// redrawn; elsewhere it prints each line when it changes.
type screen struct {
	o Options

	mu    sync.Mutex
	drawn int               // lines of the block on the terminal
	block []string          // as last shown
	said  map[string]string // by name, as last printed
}

func newScreen(o Options) *screen { return &screen{o: o, said: map[string]string{}} }

// line is one line of the block; name tells lines apart.
type line struct{ name, text string }

// note prints a line above the block.
func (s *screen) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.erase()
	fmt.Fprintf(s.o.Out, format+"\n", args...)
	s.draw()
}

// show replaces the block.
func (s *screen) show(lines []line) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.o.Redraw {
		for _, l := range lines {
			if s.said[l.name] != l.text {
				s.said[l.name] = l.text
				fmt.Fprintln(s.o.Out, l.text)
			}
		}
		return
	}
	block := make([]string, len(lines))
	for i, l := range lines {
		block[i] = l.text
	}
	if strings.Join(block, "\n") == strings.Join(s.block, "\n") {
		return
	}
	s.erase()
	s.block = block
	s.draw()
}

// erase takes the block off the terminal.
func (s *screen) erase() {
	if s.o.Redraw && s.drawn > 0 {
		fmt.Fprintf(s.o.Out, "\x1b[%dA\x1b[J", s.drawn)
		s.drawn = 0
	}
}

func (s *screen) draw() {
	if !s.o.Redraw {
		return
	}
	for _, text := range s.block {
		fmt.Fprintln(s.o.Out, s.paint(s.fit(text)))
	}
	s.drawn = len(s.block)
}

// fit cuts a line to the terminal's width, for a wrapped one could not be erased.
func (s *screen) fit(text string) string {
	if s.o.Width <= 1 || utf8.RuneCountInString(text) < s.o.Width {
		return text
	}
	return string([]rune(text)[:s.o.Width-2]) + "…"
}

func (s *screen) paint(text string) string {
	if !s.o.Color {
		return text
	}
	for word, color := range map[string]string{"succeeded": "32", "failed": "31", "waiting": "33"} {
		if i := strings.Index(text, " "+word); i >= 0 {
			return text[:i+1] + "\x1b[" + color + "m" + word + "\x1b[0m" + text[i+1+len(word):]
		}
	}
	return text
}

func (s *screen) intro(w *world, server, log, token string, pid int, o Options) {
	s.note(`Funnel demo: %d MockScan alerts come in through Splunk's webhook, each becomes one
Jira ticket, and the directory and the scanner are asked about what is in it.
Every outside system is simulated on this machine; the server is the real one.

  Tickets (simulated Jira)   %s/browse
  Alerts  (simulated Splunk) %s
  Server, its API            %s/docs
  Server, its runs           curl -H 'Authorization: Bearer %s' %s/api/v1/runs
  Server, its log            %s

Kill the server while it works; it is started again and goes on:

  kill -9 %d
`, o.Alerts, w.jiraURL, w.splunkURL, server, token, server, log, pid)
}
