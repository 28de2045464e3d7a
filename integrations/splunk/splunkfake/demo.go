package splunkfake

import "fmt"

// DemoToken is the token of the demo's API; it opens nothing else.
const DemoToken = "demo-only-splunk-token-000000000"

// DemoSID is a search job that the demo's API always knows.
const DemoSID = "scheduler__admin__search__demo_at_1767225600_1"

// DemoEvents returns the events that searches find in the demo, newest first.
func DemoEvents() []map[string]any {
	var list []map[string]any
	for i, user := range []string{"jdoe", "rroe", "jdoe", "mmajor", "jdoe", "jpublic", "rroe", "jdoe"} {
		at := 1767225600 - 60*i
		list = append(list, map[string]any{
			"_time": fmt.Sprint(at), "_raw": fmt.Sprintf("%d login user=%s", at, user), "index": "endpoint", "sourcetype": "demo:login",
			"user": user, "dest": fmt.Sprintf("WS-%04d", 100+i), "src_ip": fmt.Sprintf("10.20.1.%d", 10+i), "action": []string{"success", "failure"}[i%2],
		})
	}
	return list
}

// DemoJobs returns the search jobs that the demo begins with.
func DemoJobs() []Job {
	return []Job{{SID: DemoSID, Search: "Demo: logins", Rows: DemoEvents()}}
}
