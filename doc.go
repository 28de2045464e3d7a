// Package funnel holds the words of security automation and the registry that
// ties them together. Alerts become events, a [Playbook] turns an event into a
// run, a run is a sequence of named steps, and a step performs an [Action] of
// an [Integration].
//
// An engineer writes one typed method per action; funnel gives it every face:
// a playbook step, an API operation, a schema and a page of documentation.
//
//	// Actions of the integration.
//	var GetIssue = funnel.NewAction("jira.get_issue", "Get an issue.", funnel.Reads, (*Client).GetIssue)
//
// A playbook is a function that is replayed from the top after a failure or a
// wait; a finished step answers from its journal entry instead of running
// again:
//
//	var EnrichUser = funnel.NewPlaybook("enrich_user", "Comment who the user is.", jira.IssueCreated,
//		func(r *funnel.Run, e jira.IssueEvent) error {
//			user, err := funnel.Step(r, "lookup", activedirectory.LookupUser, …)
//			…
//		})
//
// The laws of replay: a playbook must be deterministic (journal time and chance
// with [Record]), every step needs a path of its own, and all effects go through
// [Step].
//
// The package uses the standard library only and does no I/O. What runs the
// playbooks stands behind the [Runtime] interface.
package funnel
