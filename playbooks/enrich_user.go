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
	if u.LastLogon == nil {
		f.put("Last logon", funnel.Text("none recorded"))
	}
	f.when("Last logon", u.LastLogon, " (may be up to 14 days old)")
	f.when("Account expires", u.AccountExpires, "")
	f.when("Account made", u.Created, "")
	if u.GroupsTotal > 0 {
		shown := u.Groups[:min(len(u.Groups), maxGroups)]
		f.add(fmt.Sprintf("Groups (%d of %d)", len(shown), u.GroupsTotal), strings.Join(shown, ", "))
	}
	if u.NestedGroupsTotal > 0 {
		shown := u.NestedGroups[:min(len(u.NestedGroups), maxGroups)]
		f.add(fmt.Sprintf("Groups through others (%d of %d)", len(shown), u.NestedGroupsTotal), strings.Join(shown, ", "))
	}
	blocks := []funnel.Block{funnel.Heading(3, funnel.Text("User: "), funnel.Data(clip(name, maxValue))), f.table()}
	if len(u.Unread) > 0 {
		blocks = append(blocks, funnel.Paragraph(funnel.Emphasis(funnel.Data("Funnel's account may not read "+strings.Join(u.Unread, ", ")+"."))))
	}
	return blocks
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
func unread(u activedirectory.User, attribute string) bool {
	return slices.Contains(u.Unread, attribute)
}

const computed = "msDS-User-Account-Control-Computed"

func accountState(u activedirectory.User) string {
	state := "disabled"
	switch {
	case unread(u, "userAccountControl"):
		state = "enabled or disabled: unknown"
	case u.Enabled:
		state = "enabled"
	}
	switch {
	case unread(u, computed):
		return state + "; locked: unknown"
	case u.Locked:
		return state + ", locked"
	}
	return state + ", not locked"
}

func passwordState(u activedirectory.User) string {
	var states []string
	switch {
	case unread(u, computed):
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
