package fault

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/funnelsec/funnel/integrations/jira/jirafake"
)

// load is what comes in while the server is tormented: alerts of Splunk from 32
// clients, and every fifth time an issue that a person makes in Jira, whose
// webhook the site sends.
type load struct {
	w       *world
	ledger  *ledger // of the clients
	people  bool    // who make issues
	stopped chan struct{}
	ended   chan struct{}
	alerts  int // sent at least once; valid when it has ended
}

// clients is how many alerts are on their way at the same time.
const clients = 32

// startLoad begins to send, so many a second and so many at the most. Whoever
// gets no answer sends again until there is one.
func (w *world) startLoad(ctx context.Context, t *testing.T, perSecond, most int, people bool) *load {
	t.Helper()
	return w.startLoadAt(ctx, t, 0, perSecond, most, people)
}

// startLoadFrom is startLoad whose first alert has the number.
func (w *world) startLoadFrom(ctx context.Context, t *testing.T, first, perSecond, most int) *load {
	t.Helper()
	return w.startLoadAt(ctx, t, first, perSecond, most, false)
}

func (w *world) startLoadAt(ctx context.Context, t *testing.T, first, perSecond, most int, people bool) *load {
	t.Helper()
	l := &load{w: w, ledger: newLedger(t), people: people, stopped: make(chan struct{}), ended: make(chan struct{}), alerts: first}
	work := make(chan int)
	var all sync.WaitGroup
	for range clients {
		all.Add(1)
		go func() {
			defer all.Done()
			client := &http.Client{Timeout: 10 * time.Second}
			for i := range work {
				l.deliver(ctx, t, client, i)
			}
		}()
	}
	go func() {
		defer close(l.ended)
		defer all.Wait()
		defer close(work)
		tick := time.NewTicker(time.Second / time.Duration(perSecond))
		defer tick.Stop()
		for l.alerts < most {
			select {
			case <-tick.C:
			case <-l.stopped:
				return
			case <-ctx.Done():
				return
			}
			select {
			case work <- l.alerts:
				l.alerts++
			case <-l.stopped:
				return
			case <-ctx.Done():
				return
			}
		}
	}()
	return l
}

// deliver sends the i-th alert until it is acknowledged.
func (l *load) deliver(ctx context.Context, t *testing.T, client *http.Client, i int) {
	if i%5 == 4 && l.people {
		if _, err := l.w.jira.PersonCreates(jirafake.Person{AccountID: "712020:jane", Name: "jane", DisplayName: "Jane Doe"}, jirafake.NewIssue{
			Summary: personSaw + fmt.Sprintf(" no. %d", i), Description: fmt.Sprintf("The file %s is on the computer. Who knows it?", hash(i)),
		}); err != nil {
			t.Error(err)
		}
	}
	l.ledger.sent(t, marker(i))
	if l.w.postUntilAcked(ctx, client, alert(i)) {
		l.ledger.acked(t, marker(i))
	}
}

// stop sends nothing new and returns the acknowledged alerts when all that were
// sent are.
func (l *load) stop(t *testing.T) map[string]bool {
	t.Helper()
	close(l.stopped)
	<-l.ended
	return l.ledger.acknowledged(t)
}

// personSaw begins the summary of an issue that a person made.
const personSaw = "A person saw something"

func byPerson(i jirafake.Issue) bool { return strings.HasPrefix(i.Summary, personSaw) }

// hooked returns the keys of the issues of people of which the server took the
// webhook.
func (w *world) hooked() map[string]bool {
	keys := map[string]bool{}
	for _, d := range w.jira.Deliveries() {
		if d.Event == "jira:issue_created" && d.Status/100 == 2 {
			keys[d.IssueKey] = true
		}
	}
	return keys
}
