package jira

import (
	"context"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
)

// Labels and the property that Funnel leaves on its issues.
const (
	labelOurs        = "funnel"
	labelEffect      = "funnel-"       // and the effect key
	labelFingerprint = "funnel-fp-"    // and the fingerprint
	labelProbe       = "funnel-probe-" // and the effect key and an instant
	propertyEffect   = "funnel.effect"
)

// defaultWindow is how long a ticket stands for repeats.
const defaultWindow = 24 * time.Hour

// OpenTicketInput is the input of jira.open_ticket.
type OpenTicketInput struct {
	Project     string              `json:"project" doc:"Key of the project" example:"SIRT" pattern:"^[A-Z][A-Z0-9_]+$"`
	IssueType   string              `json:"issue_type" doc:"Name of the issue type" example:"Task"`
	Summary     string              `json:"summary" doc:"One line; cut to 255 characters" example:"Credential dumping tool on WS-0142"`
	Description funnel.Document     `json:"description" doc:"What it is about"`
	Labels      []string            `json:"labels,omitempty" doc:"Further labels; white space in them becomes a hyphen"`
	Priority    string              `json:"priority,omitempty" doc:"Name of the priority; the project's default if empty" example:"High"`
	Fingerprint string              `json:"fingerprint" minLength:"1" doc:"What the ticket is about: within the window, one project gets one ticket for it" example:"credential-dumping:ws-0142"`
	Window      funnel.Duration     `json:"window,omitzero" doc:"How long the ticket stands for repeats; 24h if not set" example:"24h"`
	Observables []funnel.Observable `json:"observables,omitempty" doc:"What it is about: the first 20 become labels with hashes, by which jira.find_related finds it"`
	Follows     string              `json:"follows,omitempty" doc:"Key of a ticket about the same thing that is done and that this one follows" example:"SIRT-1"`
}

// Ticket is the outcome of jira.open_ticket.
type Ticket struct {
	ID        string     `json:"id" doc:"Numeric ID of the issue" example:"10001"`
	Key       string     `json:"key" doc:"Key of the issue" example:"SIRT-1"`
	Project   string     `json:"project" doc:"Key of the project" example:"SIRT"`
	URL       string     `json:"url" doc:"Page for people"`
	Repeat    bool       `json:"repeat" doc:"The ticket was opened before for the same thing"`
	Seen      int        `json:"seen" doc:"How often the thing was seen, 1 for a new ticket"`
	FirstSeen *time.Time `json:"first_seen,omitempty" doc:"Of a repeat: when it was seen first"`
	LastSeen  *time.Time `json:"last_seen,omitempty" doc:"Of a repeat: when it was seen last"`
}

// claimTicket is what only one run may open: a ticket for a fingerprint in a
// project. A ticket that follows a done one is another thing.
func claimTicket(in OpenTicketInput) funnel.Claim {
	claim := funnel.Claim{Scope: in.Project, Fingerprint: in.Fingerprint, Window: in.Window.Std()}
	if claim.Window <= 0 {
		claim.Window = defaultWindow
	}
	if in.Follows != "" {
		claim.Fingerprint += "/after/" + in.Follows
	}
	return claim
}

func repeatTicket(t Ticket, seen funnel.Seen) Ticket {
	first, last := seen.First.UTC(), seen.Last.UTC()
	t.Repeat, t.Seen, t.FirstSeen, t.LastSeen = true, seen.Count, &first, &last
	return t
}

// effectMark is the value of the property.
type effectMark struct {
	Key     funnel.EffectKey `json:"key"`
	Attempt int              `json:"attempt"`
}

type property struct {
	Key   string `json:"key"`
	Value any    `json:"value"`
}

const unprovenNote = "Jira did not answer an earlier attempt to open this ticket, and whether it was made could not be proven. " +
	"There may be a second ticket about the same thing."

// OpenTicket creates an issue that carries the effect key as a label and as a
// property.
func (c *Client) OpenTicket(ctx context.Context, in OpenTicketInput) (Ticket, error) {
	what := "opening a ticket"
	switch {
	case !isProject(in.Project):
		return Ticket{}, funnel.Errorf(funnel.Invalid, "%s: project is not the key of a project such as SIRT", what)
	case in.Fingerprint == "":
		return Ticket{}, funnel.Errorf(funnel.Invalid, "%s: fingerprint is empty", what)
	}
	what += " in " + in.Project
	labels, err := ticketLabels(in)
	if err != nil {
		return Ticket{}, err
	}
	attempt := funnel.AttemptFrom(ctx)
	var notes []string
	if attempt.Unproven {
		notes = append(notes, unprovenNote)
	}
	body := map[string]any{}
	if attempt.Key != "" {
		labels = slices.Insert(labels, 1, labelEffect+string(attempt.Key))
		body["properties"] = []property{{propertyEffect, effectMark{attempt.Key, attempt.Number}}}
	}
	fields := map[string]any{
		"project":     map[string]string{"key": in.Project},
		"issuetype":   map[string]string{"name": in.IssueType},
		"summary":     summary(in.Summary),
		"description": c.dialect.text(in.Description, notes...),
		"labels":      labels,
	}
	if in.Priority != "" {
		fields["priority"] = map[string]string{"name": in.Priority}
	}
	body["fields"] = fields
	id, key, err := c.createIssue(ctx, what, body)
	if err != nil {
		return Ticket{}, err
	}
	return c.ticket(id, key, in.Project), nil
}

func (c *Client) ticket(id, key, project string) Ticket {
	return Ticket{ID: id, Key: key, Project: project, URL: c.issueURL(key), Seen: 1}
}

// summary makes a text fit for Jira's summary: one line of 1 to 255 characters.
func summary(text string) string {
	if text = shorten(strings.TrimSpace(oneLine(text)), 255); text == "" {
		return "(no summary)"
	}
	return text
}

var (
	plainFingerprint = regexp.MustCompile(`^[a-z2-7]{26}$`)
	reservedLabel    = regexp.MustCompile(`^funnel-([a-z2-7]{26}$|fp-|ob-|probe-)`)
)

// labelText makes a text fit for a label: no white space, at most 255 characters.
func labelText(text string) string { return fitting(strings.ReplaceAll(oneLine(text), " ", "-"), 255) }

// ticketLabels returns the labels of a ticket, without that of the effect key.
func ticketLabels(in OpenTicketInput) ([]string, error) {
	labels := append([]string{labelOurs, fingerprintLabel(in.Fingerprint)}, observableLabels(in.Observables)...)
	for _, l := range in.Labels {
		l = labelText(l)
		if reservedLabel.MatchString(l) {
			return nil, funnel.Errorf(funnel.Invalid, "opening a ticket: labels such as funnel-fp-… are Funnel's own: choose another")
		}
		if l != "" && !slices.Contains(labels, l) {
			labels = append(labels, l)
		}
	}
	return labels, nil
}

// findTicket looks an unsure ticket up by its label. A label can be copied, as
// cloning an issue does, so the issue's own property, or else its creator,
// confirms it.
func (c *Client) findTicket(ctx context.Context, key funnel.EffectKey, in OpenTicketInput) (Ticket, bool, error) {
	what := "looking a ticket up in " + in.Project
	q := search{}.where(projectField, in.Project).where(labelsField, labelEffect+string(key)).oldestFirst()
	candidates, _, err := c.find(ctx, what, q, 50)
	if err != nil {
		return Ticket{}, false, err
	}
	var ours []issueBean
	for _, candidate := range candidates {
		bean, err := c.readIssue(ctx, what, candidate.ID, issueFields(), propertyEffect)
		if funnel.CodeOf(err) == funnel.NotFound { // deleted; the index does not know yet
			continue
		}
		if err != nil {
			return Ticket{}, false, err
		}
		is, err := c.isEffect(ctx, bean, key)
		if err != nil {
			return Ticket{}, false, err
		}
		if is {
			ours = append(ours, bean)
		}
	}
	if len(ours) == 0 {
		return Ticket{}, false, nil
	}
	if len(ours) > 1 {
		keys := make([]string, len(ours))
		for i, bean := range ours {
			keys[i] = bean.Key
		}
		c.log.Error("several tickets carry one effect key; the oldest counts", "effect", key, "issues", keys)
	}
	return c.ticket(ours[0].ID, ours[0].Key, in.Project), true, nil
}

// adoptTicket finds the newest ticket of the same fingerprint that Funnel opened
// within the window. Labels can be copied, so the creator must be our account.
func (c *Client) adoptTicket(ctx context.Context, in OpenTicketInput) (Ticket, bool, error) {
	if in.Follows != "" {
		return Ticket{}, false, nil // it is meant to stand beside another of its fingerprint
	}
	what := "looking for a ticket about the same thing in " + in.Project
	account, err := c.Account(ctx)
	if err != nil {
		return Ticket{}, false, err
	}
	q := search{}.where(projectField, in.Project).where(labelsField, labelOurs).where(labelsField, fingerprintLabel(in.Fingerprint))
	found, _, err := c.find(ctx, what, q.createdWithin(claimTicket(in).Window).newestFirst(), 50)
	if err != nil {
		return Ticket{}, false, err
	}
	for _, bean := range found {
		if bean.Fields.Creator.id() == account {
			return c.ticket(bean.ID, bean.Key, in.Project), true, nil
		}
	}
	return Ticket{}, false, nil
}

// isEffect reports whether the issue is the effect of the key. Without a readable
// property the creator decides.
func (c *Client) isEffect(ctx context.Context, bean issueBean, key funnel.EffectKey) (bool, error) {
	var m effectMark
	if raw, ok := bean.Properties[propertyEffect]; ok && json.Unmarshal(raw, &m) == nil {
		return m.Key == key, nil
	}
	account, err := c.Account(ctx)
	return err == nil && bean.Fields.Creator.id() == account, err
}

// indexFresh proves that the search index has caught up with an instant: it
// labels the newest of our issues in the project after that instant, and is
// satisfied when a search finds the label. The label holds the instant, so that
// a label of an earlier attempt, still in the index, proves nothing.
func (c *Client) indexFresh(ctx context.Context, key funnel.EffectKey, in OpenTicketInput, since time.Time) (bool, error) {
	what := "probing the search index of " + in.Project
	label := labelProbe + string(key) + "-" + strconv.FormatInt(since.UnixMicro(), 36)
	inProject := search{}.where(projectField, in.Project)
	probed, _, err := c.find(ctx, what, inProject.where(labelsField, label), 50)
	if err != nil {
		return false, err
	}
	if len(probed) == 0 {
		known, _, err := c.find(ctx, what, inProject.where(labelsField, labelOurs).newestFirst(), 1)
		if err != nil || len(known) == 0 || slices.Contains(known[0].Fields.Labels, label) {
			return false, err
		}
		return false, c.relabel(ctx, what, known[0], "add", label)
	}
	// The index may have caught up between the look-up and the probe.
	if _, found, err := c.findTicket(ctx, key, in); err != nil || found {
		return false, err
	}
	for _, bean := range probed {
		if err := c.relabel(ctx, what, bean, "remove", label); err != nil {
			c.log.Warn("a label of a probe stays on an issue", "issue", bean.Key, "label", label, "error", err)
		}
	}
	return true, nil
}

// relabel adds or removes a label; both are harmless to repeat. An issue that
// cannot be edited proves nothing, which is no failure.
func (c *Client) relabel(ctx context.Context, what string, bean issueBean, verb, label string) error {
	err := c.editIssue(ctx, what, bean.ID, map[string]any{"update": map[string]any{"labels": []any{map[string]string{verb: label}}}})
	switch funnel.CodeOf(err) {
	case funnel.Invalid, funnel.NotFound, funnel.Conflict, funnel.Unauthorized:
		c.log.Warn("an issue cannot be labelled to probe the search index", "issue", bean.Key, "error", err)
		return nil
	}
	return err
}
