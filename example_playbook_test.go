package funnel_test

import (
	"fmt"
	"time"

	"github.com/funnelsec/funnel"
)

// hostSeen is the event of a made-up trigger.
type hostSeen struct {
	Hosts []string `json:"hosts"`
}

var (
	seen     = funnel.NewTrigger("inventory.host_seen", "A host was seen.", func(funnel.Request) ([]funnel.Arrival[hostSeen], error) { return nil, nil })
	getOwner = funnel.NewAction("inventory.get_owner", "Find out who owns a host.", funnel.Reads, (*inventory).Owner)
)

// A playbook is a function that is replayed from the top after a wait or a crash:
// a finished step answers from its journal entry. So it has to do the same for
// the same event: time and chance are journalled by Record, effects go through
// Step, and every step has a name of its own within its Parallel or Each.
func ExampleNewPlaybook() {
	p := funnel.NewPlaybook("greet_owners", "Find out who owns the hosts.", seen, func(r *funnel.Run, e hostSeen) error {
		began, err := funnel.Record(r, "began", func() (time.Time, error) { return time.Now(), nil })
		if err != nil || began.Weekday() == time.Sunday {
			return err
		}
		funnel.Sleep(r, "settle", 10*time.Minute) // durable: it frees the worker and survives a restart
		err = funnel.Each(r, "hosts", e.Hosts, func(host string) string { return host }, func(r *funnel.Run, host string) error {
			_, err := funnel.Step(r, "owner", getOwner, ownerInput{Host: host}) // its path is "hosts/<host>/owner"
			return err
		})
		if err != nil {
			return err
		}
		return funnel.Parallel(r, "both",
			funnel.Branch{Name: "first", Do: func(r *funnel.Run) error {
				_, err := funnel.Step(r, "owner", getOwner, ownerInput{Host: "WS-0001"}) // "both/first/owner"
				return err
			}},
			funnel.Branch{Name: "second", Do: func(r *funnel.Run) error {
				_, err := funnel.Step(r, "owner", getOwner, ownerInput{Host: "WS-0002"}, funnel.Via("inventory-emea"))
				return err
			}},
		)
	}, funnel.Saves(5*time.Minute))
	fmt.Println(p.Name, "runs on", p.Trigger.ID)
	// Output: greet_owners runs on inventory.host_seen
}
