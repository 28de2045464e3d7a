// Package playbooks holds the playbooks that ship with Funnel.
//
// [OpenTicket] makes a ticket of an alert. Each enrichment is a playbook of its
// own that starts when the ticket is there, so that a system that is slow or down
// delays nothing but its own comment.
package playbooks

import (
	"time"
	"unicode/utf8"

	"github.com/funnelsec/funnel"
)

// All returns the shipped playbooks.
func All() []*funnel.Playbook {
	return []*funnel.Playbook{OpenTicket, EnrichUser, EnrichHost, EnrichFile, EnrichNetwork, ShowRows, RelateTickets}
}

// instant writes a time for people.
func instant(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05") + " UTC" }

// clip cuts a text to at most the given number of characters; "…" shows that.
func clip(text string, most int) string {
	if utf8.RuneCountInString(text) <= most {
		return text
	}
	return string([]rune(text)[:most-1]) + "…"
}

// facts is a table of names and values that leaves out what is not known.
type facts [][][]funnel.Inline

// add adds what the outside says; nothing if that is empty.
func (f *facts) add(name, value string) {
	if value != "" {
		f.put(name, funnel.Data(clip(value, maxValue)))
	}
}

// when adds a time, with a remark behind it.
func (f *facts) when(name string, t *time.Time, remark string) {
	if t != nil {
		f.put(name, funnel.Text(instant(*t)+remark))
	}
}

func (f *facts) put(name string, value ...funnel.Inline) {
	*f = append(*f, funnel.Row(funnel.Item(funnel.Strong(funnel.Text(name))), value))
}

func (f facts) table() funnel.Block { return funnel.Table(nil, f...) }
