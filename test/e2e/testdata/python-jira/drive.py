"""Drives a Jira site with Debian's python3-jira, a client that others wrote.

Usage: drive.py cloud|data_center ADDRESS TOKEN [EMAIL]. Prints what it saw as JSON.
"""

import json
import sys

from jira import JIRA, JIRAError

deployment, address, token = sys.argv[1:4]
options = {"server": address}
if deployment == "cloud":
    site = JIRA(options, basic_auth=(sys.argv[4], token), max_retries=0)
else:
    site = JIRA(options, token_auth=token, max_retries=0)
seen = {"cloud": site._is_cloud, "me": site.myself()["displayName"], "project": site.project("SIRT").name}

issue = site.create_issue(
    project="SIRT", summary="Made by python3-jira", description="h2. Title\n\n*bold* text",
    issuetype={"name": "Task"}, priority={"name": "High"}, labels=["python", "e2e"],
)
other = site.create_issue(project="SIRT", summary="Another", issuetype={"name": "Task"})
seen["key"] = issue.key
again = site.issue(issue.key)
seen["summary"], seen["description"] = again.fields.summary, again.fields.description
seen["labels"], seen["status"] = again.fields.labels, again.fields.status.name

first = site.add_comment(issue, "a *comment*")
site.add_comment(issue, "another")
first.update(body="changed")
seen["comments"] = [c.body for c in site.comments(issue)]
seen["author"] = site.comments(issue)[0].author.displayName

again.update(fields={"summary": "Changed by python3-jira"})
again.update(update={"labels": [{"add": "more"}]})
seen["transitions"] = [t["name"] for t in site.transitions(issue)]
site.transition_issue(issue, "In Progress")
seen["moved"] = site.issue(issue.key).fields.status.name

site.assign_issue(issue, "jdoe@example.com")
seen["assignee"] = site.issue(issue.key).fields.assignee.displayName
site.assign_issue(issue, None)
seen["unassigned"] = site.issue(issue.key).fields.assignee is None

seen["link_types"] = [t.name for t in site.issue_link_types()]
site.create_issue_link("Relates", issue.key, other.key)
link = site.issue(issue.key).fields.issuelinks[0]
seen["link"] = [link.type.name, getattr(link, "outwardIssue", None) and link.outwardIssue.key]

site.add_issue_property(issue.key, "python", {"a": 1})
seen["property"] = site.issue_property(issue.key, "python").value.a

with open(__file__, "rb") as content:
    attachment = site.add_attachment(issue, content, filename="drive.py")
seen["attachment"] = attachment.filename
with open(__file__, "rb") as content:
    seen["content"] = attachment.get() == content.read()

try:
    found = site.search_issues('project = SIRT AND labels = "python" ORDER BY created ASC', maxResults=10)
    seen["search"] = [i.key for i in found] + [found.total]
    seen["paged"] = [i.key for i in site.search_issues("project = SIRT ORDER BY created ASC", maxResults=False)]
except JIRAError as e:
    seen["search"] = e.status_code
try:
    site.issue("SIRT-999")
except JIRAError as e:
    seen["missing"] = [e.status_code, e.text]
try:
    site.create_issue(project="SIRT", summary="", issuetype={"name": "Task"})
except JIRAError as e:
    seen["refused"] = [e.status_code, e.response.json()["errors"]["summary"]]
print(json.dumps(seen))
