package playbooks

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/jira"
)

// RelateTickets finds the tickets that are about the same things as a new one,
// links them and lists them in a comment. If its settings say so, it closes the new
// one as a duplicate of an open older one; it never closes a ticket that a person
// has touched.
var RelateTickets = funnel.NewPlaybook("relate_tickets", "Link tickets about the same things, and close duplicates if told to.", jira.IssueCreated, relateTickets,
	aboutRelated().tells(), funnel.Settings(relateDefaults()), funnel.Saves(5*time.Minute))

// When a ticket counts as a duplicate that is closed.
const (
	closeNever       = "never"
	closeFingerprint = "same_fingerprint"
	closeObservables = "same_observables"
)

// RelateSettings are the options of relate_tickets.
type RelateSettings struct {
	Within          funnel.Duration `json:"within,omitzero" doc:"How old a related ticket may be" example:"336h"`
	Wait            funnel.Duration `json:"wait,omitzero" doc:"How long to wait before looking: Jira's search lags, and of two tickets that are opened at the same time none would find the other" example:"1m"`
	Most            int             `json:"most,omitempty" doc:"At most so many related tickets are listed and linked, 1 to 20" example:"10"`
	Kinds           []funnel.Kind   `json:"kinds,omitempty" doc:"The kinds of observables that relate tickets; all if empty. Domains, URLs and mail addresses of your own never do"`
	Link            bool            `json:"link" doc:"Link the tickets"`
	LinkType        string          `json:"link_type,omitempty" doc:"Name of the link between related tickets" example:"Relates"`
	CloseDuplicates string          `json:"close_duplicates,omitempty" enum:"never,same_fingerprint,same_observables" doc:"When the new ticket is closed as a duplicate of an open older one that Funnel opened"`
	DuplicateType   string          `json:"duplicate_type,omitempty" doc:"Name of the link from a duplicate" example:"Duplicate"`
	CloseTo         string          `json:"close_to,omitempty" doc:"Name of the status of a closed duplicate" example:"Done"`
	Resolution      string          `json:"resolution,omitempty" doc:"Name of the resolution of a closed duplicate, where the transition has that field" example:"Duplicate"`
}

func relateDefaults() RelateSettings {
	return RelateSettings{
		Within: funnel.Duration(14 * 24 * time.Hour), Wait: funnel.Duration(time.Minute), Most: 10, Link: true, LinkType: "Relates",
		CloseDuplicates: closeNever, DuplicateType: "Duplicate", CloseTo: "Done",
	}
}

// Validate reports what is wrong with the settings.
func (s *RelateSettings) Validate() error {
	switch {
	case s.Within.Std() < time.Hour || s.Within.Std() > 366*24*time.Hour:
		return funnel.Errorf(funnel.Invalid, "within: want 1h to 8784h")
	case s.Wait < 0 || s.Wait.Std() > time.Hour:
		return funnel.Errorf(funnel.Invalid, "wait: want 0s to 1h")
	case s.Most < 1 || s.Most > 20:
		return funnel.Errorf(funnel.Invalid, "most is %d, want 1 to 20", s.Most)
	case !slices.Contains([]string{closeNever, closeFingerprint, closeObservables}, s.CloseDuplicates):
		return funnel.Errorf(funnel.Invalid, "close_duplicates: want never, same_fingerprint or same_observables")
	}
	for _, k := range s.Kinds {
		if !slices.Contains(funnel.Kinds(), k) {
			return funnel.Errorf(funnel.Invalid, "kinds: the kinds are %s", join(funnel.Kinds()))
		}
	}
	return nil
}

// Uses returns what the settings name in Jira.
func (s *RelateSettings) Uses() []funnel.Use {
	var uses []funnel.Use
	if s.Link {
		uses = append(uses, jira.Use("link_type", jira.UseLinkType, s.LinkType))
	}
	if s.CloseDuplicates != closeNever {
		uses = append(uses, jira.Use("duplicate_type", jira.UseLinkType, s.DuplicateType), jira.Use("close_to", jira.UseStatus, s.CloseTo))
	}
	return uses
}

func aboutRelated() enrichment { return enrichment{name: "relate_tickets", title: "Related tickets"} }

func relateTickets(r *funnel.Run, e jira.IssueEvent) error {
	if e.Alert == nil {
		return nil
	}
	settings, err := funnel.SettingsOf(r, relateDefaults())
	if err != nil {
		return err
	}
	about := relating(e.Observables.Observables, settings.Kinds)
	if len(about) == 0 && e.Fingerprint() == "" {
		return nil
	}
	if settings.Wait > 0 {
		funnel.Sleep(r, "wait", settings.Wait.Std())
	}
	found, err := funnel.Step(r, "find", jira.FindRelated, jira.FindRelatedInput{
		Issue: e.Key, Project: e.Project, Observables: about, Fingerprint: e.Fingerprint(), Within: settings.Within, Limit: settings.Most,
	})
	if err != nil {
		return err
	}
	if r.Skipped("find") {
		return aboutRelated().comment(r, e, aboutRelated().unknown(funnel.Text("not asked, a person skipped the look-up.")))
	}
	original := duplicated(e, found.Issues, settings.CloseDuplicates)
	if err := link(r, "link", e, settings, found.Issues, original); err != nil {
		return err
	}
	// The comment comes first: a closed ticket may take none.
	if err := aboutRelated().comment(r, e, relatedNote(e, found, settings)...); err != nil || original == "" {
		return err
	}
	out, err := funnel.Step(r, "close", jira.CloseDuplicate, jira.CloseDuplicateInput{
		Issue: e.Key, Of: original, To: settings.CloseTo, Resolution: settings.Resolution, LinkType: settings.DuplicateType,
	})
	if err != nil || out.Closed {
		return err
	}
	return link(r, "link-original", e, settings, found.Issues, "") // it was left alone, and is related all the same
}

// link links the ticket with the found ones but for the original, whose link says
// more.
func link(r *funnel.Run, step string, e jira.IssueEvent, settings RelateSettings, found []jira.RelatedIssue, original string) error {
	var keys []string
	for _, f := range found {
		if f.Key != original {
			keys = append(keys, f.Key)
		}
	}
	if !settings.Link || len(keys) == 0 {
		return nil
	}
	_, err := funnel.Step(r, step, jira.LinkRelated, jira.LinkRelatedInput{Issue: e.Key, Related: keys, Type: settings.LinkType})
	return err
}

// relating returns the observables that relate tickets. What all alerts of a
// company share, such as its own domain, says nothing.
func relating(all []funnel.Observable, kinds []funnel.Kind) []funnel.Observable {
	var list []funnel.Observable
	for _, o := range all {
		common := o.Own && (o.Kind == funnel.Domain || o.Kind == funnel.URL || o.Kind == funnel.Email)
		if !common && (len(kinds) == 0 || slices.Contains(kinds, o.Kind)) {
			list = append(list, o)
		}
	}
	return list
}

// duplicated returns the key of the oldest open ticket of ours that the new one
// duplicates, "" if there is none. Only an older one counts, so that of two tickets
// never both are closed.
func duplicated(e jira.IssueEvent, found []jira.RelatedIssue, policy string) string {
	mine, err := strconv.ParseInt(e.ID, 10, 64)
	if err != nil {
		return ""
	}
	oldest, key := mine, ""
	for _, f := range found {
		same := policy == closeFingerprint && f.SameFingerprint || policy == closeObservables && f.SameObservables
		id, err := strconv.ParseInt(f.ID, 10, 64)
		if same && f.Ours && !f.Done && err == nil && id < oldest {
			oldest, key = id, f.Key
		}
	}
	return key
}

// relatedNote lists the related tickets with what they have in common.
func relatedNote(e jira.IssueEvent, found jira.RelatedIssues, settings RelateSettings) []funnel.Block {
	span := "in the last " + days(settings.Within.Std())
	if len(found.Issues) == 0 {
		return []funnel.Block{funnel.Paragraph(funnel.Strong(funnel.Text("Related tickets")), funnel.Text(": none "+span+"."))}
	}
	rows := make([][][]funnel.Inline, len(found.Issues))
	for i, f := range found.Issues {
		opened := ""
		if f.Created != nil {
			opened = instant(*f.Created)
		}
		rows[i] = funnel.Row(
			funnel.Item(funnel.LinkWithin(f.Key, e.URL, f.URL)), funnel.Item(funnel.Data(clip(f.Status, maxValue))), funnel.Item(funnel.Text(opened)),
			funnel.Item(funnel.Data(clip(f.Summary, maxValue))), common(f),
		)
	}
	header := funnel.Row(
		funnel.Item(funnel.Text("Ticket")), funnel.Item(funnel.Text("Status")), funnel.Item(funnel.Text("Opened")), funnel.Item(funnel.Text("Summary")), funnel.Item(funnel.Text("In common")),
	)
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text(fmt.Sprintf("Related tickets %s: %d", span, len(found.Issues)))), funnel.Table(header, rows...)}
	if found.More {
		blocks[0] = funnel.Heading(3, funnel.Text(fmt.Sprintf("Related tickets %s: more than %d, the newest", span, len(found.Issues))))
	}
	return blocks
}

// common says what a ticket has in common with the new one.
func common(f jira.RelatedIssue) []funnel.Inline {
	var text []funnel.Inline
	for i, o := range f.Shared {
		if i > 0 {
			text = append(text, funnel.Text(", "))
		}
		if i == 5 {
			text = append(text, funnel.Text(fmt.Sprintf("and %d more", len(f.Shared)-i)))
			break
		}
		text = append(text, funnel.Text(string(o.Kind)+" "), funnel.Fixed(funnel.Data(clip(o.Value, 200))))
	}
	if f.SameFingerprint {
		if len(text) > 0 {
			text = append(text, funnel.Text("; "))
		}
		text = append(text, funnel.Text("the same alert"))
	}
	return text
}

// days writes a duration in days, or in hours if it is short.
func days(d time.Duration) string {
	if d < 48*time.Hour {
		return fmt.Sprintf("%d hours", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}
