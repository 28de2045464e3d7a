package playbooks

import (
	"fmt"
	"strings"
	"time"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/integrations/activedirectory"
	"github.com/funnelsec/funnel/integrations/jira"
)

const userTitle = "User"

// EnrichUser comments what the directory knows about the alert's user.
var EnrichUser = funnel.NewPlaybook("enrich_user", "Comment who the user is.", jira.IssueCreated, enrichUser,
	tells("enrich_user", userTitle), funnel.Saves(5*time.Minute))

func enrichUser(r *funnel.Run, e jira.IssueEvent) error {
	if e.Alert == nil {
		return nil // a person's ticket: nothing is known to look up
	}
	note, err := userNote(r, e.Observable(funnel.User))
	if err != nil {
		return err
	}
	_, err = funnel.Step(r, "comment", jira.KeepComment, jira.KeepCommentInput{Issue: e.Key, Name: "enrich_user", Revision: jira.Final, Body: note})
	return err
}

func userNote(r *funnel.Run, account string) (funnel.Document, error) {
	if account == "" {
		return unknown(userTitle, "the alert names no user, so nobody was asked."), nil
	}
	user, err := funnel.Step(r, "lookup", activedirectory.LookupUser, activedirectory.LookupUserInput{Account: account})
	switch {
	case funnel.CodeOf(err) == funnel.Invalid:
		return unknown(userTitle, fmt.Sprintf("%q cannot be the name of an account, so the directory was not asked.", cut(account, 100))), nil
	case err != nil:
		return funnel.Document{}, err
	case r.Skipped("lookup"):
		return unknown(userTitle, "a person skipped the look-up of "+cut(account, 100)+"."), nil
	case !user.Found:
		why := user.Why
		if why == "" {
			why = "no such account"
		}
		return unknown(userTitle, fmt.Sprintf("the directory does not know %q: %s.", cut(account, 100), why)), nil
	}
	return funnel.NewDocument(
		funnel.Heading(3, funnel.Text(userTitle+": "), funnel.Data(user.DisplayName)),
		funnel.Paragraph(state(user)...),
		userFacts(user).table(),
	), nil
}

// state says first what a responder has to know.
func state(u activedirectory.User) []funnel.Inline {
	var notes []string
	if u.Locked {
		notes = append(notes, "locked out")
	}
	if u.PasswordExpired {
		notes = append(notes, "password expired")
	}
	if u.MustChangePassword {
		notes = append(notes, "must change the password")
	}
	account := "The account is enabled"
	if !u.Enabled {
		account = "The account is disabled"
	}
	if len(notes) > 0 {
		account += ", " + strings.Join(notes, ", ")
	}
	return []funnel.Inline{funnel.Strong(funnel.Text(account + "."))}
}

func userFacts(u activedirectory.User) *facts {
	f := &facts{}
	f.data("Account", u.Account)
	f.data("Title", u.Title)
	f.data("Department", u.Department)
	f.data("Company", u.Company)
	f.data("Location", u.Location)
	f.data("Mail", u.Mail)
	f.data("Employee ID", u.EmployeeID)
	manager := u.Manager.DisplayName
	if u.Manager.Mail != "" {
		manager += " (" + u.Manager.Mail + ")"
	}
	f.data("Manager", manager)
	f.time("Last logon", u.LastLogon, "never", " (may be up to 14 days later)")
	f.time("Password set", u.PasswordSet, "", "")
	f.time("Account expires", u.AccountExpires, "", "")
	if len(u.Groups) > 0 {
		groups := strings.Join(u.Groups[:min(len(u.Groups), 10)], ", ")
		if more := u.GroupsTotal - min(len(u.Groups), 10); more > 0 {
			groups += fmt.Sprintf(" and %d more", more)
		}
		f.data("Groups", groups)
	}
	return f
}
