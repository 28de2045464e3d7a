package playbooks

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/jira"
)

// EnrichUser comments who the user of the ticket's alert is.
var EnrichUser = funnel.NewPlaybook("enrich_user", "Comment who the user is.", jira.IssueCreated, enrichUser,
	aboutUser().tells(), funnel.Saves(4*time.Minute))

func aboutUser() enrichment {
	return enrichment{name: "enrich_user", title: "User", asks: func(e jira.IssueEvent) bool { return e.Observable(funnel.User) != "" }}
}

func enrichUser(r *funnel.Run, e jira.IssueEvent) error {
	x := aboutUser()
	if !x.concerns(e) {
		return nil
	}
	account := e.Observable(funnel.User)
	if account == "" {
		return x.comment(r, e, x.unknown(funnel.Text("the alert names no user.")))
	}
	user, err := funnel.Step(r, "lookup", activedirectory.LookupUser, activedirectory.LookupUserInput{Account: account})
	if err != nil {
		return err
	}
	switch {
	case r.Skipped("lookup"):
		return x.comment(r, e, x.unknown(funnel.Text("not asked, a person skipped the look-up.")))
	case !user.Found:
		why := []funnel.Inline{funnel.Text("the directory has no account "), funnel.Fixed(funnel.Data(clip(account, maxValue))), funnel.Text(".")}
		if user.Why != "" {
			why = append(why, funnel.Text(" It says: "), funnel.Data(clip(user.Why, maxValue)))
		}
		return x.comment(r, e, x.unknown(why...))
	}
	return x.comment(r, e, userNote(user)...)
}

// maxGroups is how many groups of a user are named.
const maxGroups = 10

func userNote(u activedirectory.User) []funnel.Block {
	name := u.DisplayName
	if name == "" {
		name = u.Account
	}
	var f facts
	f.add("Account", u.Account)
	f.add("Principal name", u.UPN)
	f.add("Title", u.Title)
	f.add("Department", u.Department)
	f.add("Company", u.Company)
	f.add("Location", u.Location)
	f.add("Employee ID", u.EmployeeID)
	f.add("Mail", u.Mail)
	f.add("Manager", manager(u.Manager))
	f.put("Account state", funnel.Text(accountState(u)))
	f.put("Password", funnel.Text(passwordState(u)))
	f.lastLogon(u.LastLogon, u.LastLogonLag, u.Unread)
	switch {
	case unread(u.Unread, "accountExpires"):
		f.put("Account expires", funnel.Text("unknown"))
	case u.Expired:
		f.when("Account expires", u.AccountExpires, ", which has passed")
	default:
		f.when("Account expires", u.AccountExpires, "")
	}
	f.when("Account made", u.Created, "")
	f.add("Primary group", u.PrimaryGroup)
	f.list("Groups", u.Groups, u.GroupsTotal)
	f.list("Groups through others", u.NestedGroups, u.NestedGroupsTotal)
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text("User: "), funnel.Data(clip(name, maxValue)))}
	blocks = append(blocks, warning(userWarnings(u))...)
	return append(append(blocks, f.table()), limits(u.Unread, u.MoreGroups)...)
}

// userWarnings are what a responder has to see first.
func userWarnings(u activedirectory.User) []string {
	var mind []string
	if len(u.Privileged) > 0 {
		mind = append(mind, power(u.Privileged))
	}
	for _, s := range []struct {
		is   bool
		text string
	}{
		{!u.Enabled && !unread(u.Unread, "userAccountControl"), "the account is disabled"},
		{u.Locked, "it is locked out after wrong passwords"},
		{u.Expired, "it has ended"},
		{u.MustChangePassword, "its password must be changed at the next logon"},
		{u.PasswordExpired && !u.MustChangePassword, "its password has expired"},
	} {
		if s.is {
			mind = append(mind, s.text)
		}
	}
	return mind
}

// power says which groups give power over the domain.
func power(groups []string) string {
	return fmt.Sprintf("it has power over the domain by %s", listed(groups, len(groups)))
}

// warning is a paragraph of what has to be seen first, none if there is nothing.
func warning(mind []string) []funnel.Block {
	if len(mind) == 0 {
		return nil
	}
	return []funnel.Block{funnel.Paragraph(funnel.Strong(funnel.Text("Mind: ")), funnel.Data(strings.Join(mind, "; ")+"."))}
}

// limits says what could not be read, which is unknown and not good news.
func limits(unread []string, moreGroups bool) []funnel.Block {
	var notes []string
	if moreGroups {
		notes = append(notes, "Not all groups could be read: there may be others, and others with power.")
	}
	if len(unread) > 0 {
		notes = append(notes, "Funnel's account may not read "+strings.Join(unread, ", ")+".")
	}
	if len(notes) == 0 {
		return nil
	}
	return []funnel.Block{funnel.Paragraph(funnel.Emphasis(funnel.Data(strings.Join(notes, " "))))}
}

// list adds the first of a list of names, and how many there are.
func (f *facts) list(name string, names []string, total int) {
	if total > 0 {
		shown := names[:min(len(names), maxGroups)]
		f.add(fmt.Sprintf("%s (%d of %d)", name, len(shown), total), strings.Join(shown, ", "))
	}
}

func listed(names []string, total int) string {
	shown := strings.Join(names[:min(len(names), maxGroups)], ", ")
	if total > maxGroups {
		shown += fmt.Sprintf(" and %d more", total-maxGroups)
	}
	return clip(shown, maxValue)
}

// lastLogon adds a last logon with how much later the true one may be.
func (f *facts) lastLogon(at *time.Time, lag funnel.Duration, hidden []string) {
	switch {
	case at != nil:
		remark := ""
		if days := int(time.Duration(lag).Hours() / 24); days > 0 {
			remark = fmt.Sprintf(" (the true one may be up to %d days later)", days)
		}
		f.when("Last logon", at, remark)
	case unread(hidden, "lastLogonTimestamp"):
		f.put("Last logon", funnel.Text("unknown"))
	default:
		f.put("Last logon", funnel.Text("none recorded"))
	}
}

func manager(m activedirectory.Manager) string {
	switch {
	case m.DisplayName != "" && m.Mail != "":
		return m.DisplayName + ", " + m.Mail
	case m.DisplayName != "":
		return m.DisplayName
	}
	return m.DN
}

// unread reports whether the directory did not show an attribute: what follows
// from it is unknown, not false.
func unread(list []string, attribute string) bool { return slices.Contains(list, attribute) }

const computed = "msDS-User-Account-Control-Computed"

func accountState(u activedirectory.User) string {
	state := "disabled"
	switch {
	case unread(u.Unread, "userAccountControl"):
		state = "enabled or disabled: unknown"
	case u.Enabled:
		state = "enabled"
	}
	switch {
	case unread(u.Unread, computed):
		return state + "; locked: unknown"
	case u.Locked:
		return state + ", locked"
	}
	return state + ", not locked"
}

func passwordState(u activedirectory.User) string {
	var states []string
	switch {
	case unread(u.Unread, computed):
		states = append(states, "expired: unknown")
	case u.PasswordExpired:
		states = append(states, "expired")
	default:
		states = append(states, "not expired")
	}
	if u.MustChangePassword {
		states = append(states, "must be changed at the next logon")
	}
	if u.PasswordSet != nil {
		states = append(states, "set at "+instant(*u.PasswordSet))
	}
	return strings.Join(states, ", ")
}
