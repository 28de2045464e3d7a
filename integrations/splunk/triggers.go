package splunk

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/funnelsec/funnel"
)

// AlertEvent is an alert as Splunk's webhook tells it: the search that fired
// and the first row of its results (or, in per-result mode, one row).
type AlertEvent struct {
	Search      string     `json:"search" doc:"Name of the saved search; empty if the search has no name" example:"MockScan: Credential dumping tool"`
	SID         string     `json:"sid" doc:"ID of the search job; several alerts share it in per-result mode"`
	App         string     `json:"app,omitempty" doc:"Splunk app that holds the search" example:"search"`
	Owner       string     `json:"owner,omitempty" doc:"Splunk user who owns the search" example:"admin"`
	ResultsLink string     `json:"results_link,omitempty" doc:"Address of the results in Splunk, as Splunk gave it"`
	Row         Row        `json:"row" doc:"The row's fields, sorted by name"`
	Severity    string     `json:"severity,omitempty" enum:"critical,high,medium,low,info" doc:"From the field severity, urgency or priority; empty if none of them says"`
	Time        *time.Time `json:"time,omitempty" doc:"When it happened, from the field _time"`
	Fingerprint string     `json:"fingerprint" doc:"Equal for alerts about the same thing"`
	Received    time.Time  `json:"received" doc:"When Funnel received or read it"`
	Read        bool       `json:"read,omitempty" doc:"Whether Funnel read it from Splunk, because no webhook brought it"`
	Gone        string     `json:"gone,omitempty" doc:"Of an alert that was read: why there is no row; the time is then when it fired"`
	Missed      int        `json:"missed,omitempty" doc:"Of one without a row: how many alerts it stands for at most"`
	funnel.Observables
}

// maxSID bounds the ID of a search job in bytes, for it is part of the event's
// key. Splunk's own are about 100 bytes long.
const maxSID = 1024

// decodeAlert reads {"result":{…},"sid":…,"results_link":…,"search_name":…,
// "owner":…,"app":…}, the fixed body of the webhook alert action
// (help.splunk.com, "Use a webhook alert action"). Other keys are ignored: apps
// that imitate the action add some.
//
// The key is the sid with the hash of the whole row, never the sid alone: in
// per-result mode one search job sends a delivery for each of its rows. Of a body
// that was read, see fired.body, "gone" counts too.
func decodeAlert(req funnel.Request) ([]funnel.Arrival[AlertEvent], error) {
	if !utf8.Valid(req.Body) || !gjson.ValidBytes(req.Body) {
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: the body is not JSON in UTF-8")
	}
	body := gjson.ParseBytes(req.Body)
	if !body.IsObject() {
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: the body is not a JSON object")
	}
	event := AlertEvent{Received: req.ReceivedAt}
	var result, gone gjson.Result
	var err error
	body.ForEach(func(name, value gjson.Result) bool {
		var into *string
		switch text(name) { // exactly: "SID" is another key
		case "result":
			result = value
			return true
		case "gone":
			gone = value
			return true
		case "sid":
			into = &event.SID
		case "search_name":
			into = &event.Search
		case "app":
			into = &event.App
		case "owner":
			into = &event.Owner
		case "results_link":
			into = &event.ResultsLink
		default:
			return true
		}
		switch value.Type {
		case gjson.String:
			*into = text(value)
		case gjson.Null:
			*into = ""
		default:
			err = funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /%s is not a string", text(name))
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	switch {
	case event.SID == "":
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /sid is missing or empty")
	case len(event.SID) > maxSID:
		return nil, funnel.Errorf(funnel.Invalid, "reading a Splunk alert: /sid is longer than %d bytes", maxSID)
	}
	row, err := readRow(result)
	if err != nil {
		return nil, err
	}
	event.Row = row
	event.Severity = severity(row)
	event.Time = rowTime(row.Get("_time"))
	all, ids := observables(row, req.Fields)
	event.Fingerprint = fingerprint(req, event.Search, row, ids)
	if event.Read = req.Read; event.Read {
		event.readMissed(gone)
	}
	if event.Gone != "" { // one ticket for all of a search whose rows nobody knows
		event.Fingerprint = funnel.Fingerprint(req.Source, event.Search, "gone")
	}
	event.Observables.Observables = all[:min(len(all), maxObservables)]
	found := funnel.Arrival[AlertEvent]{Key: event.SID + ":" + row.hash(), Event: event, Text: freeText(row, req.Text, len(all) > 0)}
	if req.Connection != "" { // without one nobody can read what else there was
		found.Group, found.Kin, found.Mark = event.SID, row.likeness(), row.mark()
	}
	if event.Gone != "" {
		found.Key = event.SID + ":gone:" + strconv.FormatInt(event.Time.Unix(), 10) + ":" + strconv.Itoa(event.Missed)
	}
	return []funnel.Arrival[AlertEvent]{found}, nil
}

// severity returns the first severity that the row names, in the spelling of
// the Common Information Model; its "informational" becomes "info".
func severity(row Row) string {
	for _, name := range []string{"severity", "urgency", "priority"} {
		switch s := strings.ToLower(strings.TrimSpace(row.Get(name))); s {
		case "critical", "high", "medium", "low", "info":
			return s
		case "informational", "information":
			return "info"
		}
	}
	return ""
}

// rowTime reads Splunk's _time: seconds since 1970 with an optional fraction,
// as the webhook sends it, or ISO 8601, as searches may rewrite it. It returns
// nil if the value is neither, or not within the years 1970 to 9999.
func rowTime(value string) *time.Time {
	value = strings.TrimSpace(value)
	if len(value) > 64 {
		return nil
	}
	t, ok := epoch(value)
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999Z0700"} {
		if ok {
			break
		}
		parsed, err := time.Parse(layout, value)
		t, ok = parsed.UTC(), err == nil
	}
	if !ok || t.Unix() < 0 || t.Year() > 9999 { // time.Time has no JSON form beyond
		return nil
	}
	return &t
}

func epoch(value string) (time.Time, bool) {
	whole, fraction, _ := strings.Cut(value, ".")
	seconds, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || seconds > 253402300799 { // the end of the year 9999
		return time.Time{}, false
	}
	fraction = (fraction + "000000000")[:9]
	nanos, err := strconv.ParseUint(fraction, 10, 63) // no sign
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(seconds, int64(nanos)).UTC(), true
}
