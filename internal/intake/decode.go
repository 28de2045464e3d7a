package intake

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// arrival is an event that one of the source's triggers found.
type arrival struct {
	funnel.AnyArrival
	trigger *funnel.TriggerSpec
}

// freeKeys reports whether names of inner members are data to all triggers of the
// source: if they are not to one, its decoder must not meet two of them.
func (s Source) freeKeys() bool {
	for _, t := range s.Triggers {
		if !t.FreeKeys {
			return false
		}
	}
	return true
}

// decode lets each of the source's triggers read the delivery. If none finds an
// event in it, the error is Ignored with their reasons.
func (in *Intake) decode(s Source, header http.Header, body []byte, now time.Time) ([]arrival, error) {
	var all []arrival
	var why []string
	req := in.request(s, header, body, now, false)
	for _, t := range s.Triggers {
		found, err := t.Decode(req)
		var ignored funnel.Ignored
		switch {
		case errors.As(err, &ignored):
			why = append(why, ignored.Error())
		case err != nil:
			return nil, err
		case len(found) == 0:
			why = append(why, "it holds no event for "+t.ID)
		case t.NeedsAccount && req.Account == "":
			return nil, funnel.ErrAccountUnknown
		}
		for _, a := range found {
			all = append(all, arrival{a, t})
		}
	}
	if len(all) == 0 {
		return nil, funnel.Ignored(strings.Join(why, "; "))
	}
	return all, nil
}

func (in *Intake) request(s Source, header http.Header, body []byte, now time.Time, read bool) funnel.Request {
	return funnel.Request{
		Source: s.Name, Header: header, Body: body, ReceivedAt: now, Connection: s.Connection, Account: s.account(), Read: read,
		Fields: s.Fields, Fingerprint: s.Fingerprint, Text: s.Text, Observe: in.sources.Load().observe,
	}
}
