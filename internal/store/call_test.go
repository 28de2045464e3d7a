package store_test

import "github.com/funnelsec/funnel/internal/record"

// checkCall: a call's event and run are one, and a repeat finds the first.
func checkCall(f *fixture) {
	call := func(key, input string) (record.Run, bool) {
		f.Helper()
		e := newEvent(key).Event
		run, duplicate, err := f.db.Call(e, record.Run{Kind: record.Call, Playbook: "a.b", State: record.Queued, CreatedAt: at(1), Input: []byte(input)})
		f.must(err)
		return run, duplicate
	}
	first, duplicate := call("k", "one")
	f.want("first", words(duplicate, first.Kind, first.Playbook), "false call a.b")
	f.reopen()
	again, duplicate := call("k", "two")
	f.want("again", words(duplicate, again.ID == first.ID, string(again.Input)), "true true one")
	other, duplicate := call("l", "three")
	f.want("other", words(duplicate, other.ID != first.ID, other.EventID != first.EventID), "false true true")
	loaded, err := f.db.Load(f.Context(), first.ID)
	f.must(err)
	f.want("loaded", words(loaded.Run.Kind, string(loaded.Run.Input), loaded.Event.Key, len(loaded.Steps)), "call one k 0")
	ready, err := f.db.Ready(f.Context(), 0, 10)
	f.must(err)
	f.want("ready", ready, []int64{first.ID, other.ID})
}
