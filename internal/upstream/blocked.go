package upstream

import (
	"fmt"
	"time"

	"github.com/funnelsec/funnel"
)

// Blocked says that a connection takes no more callers now. Who gets it waits
// durably and is woken by OnFree.
type Blocked struct {
	Connection string
	Why        string    // for people
	Until      time.Time // zero: not known
}

// Error says which connection is blocked, why and until when.
func (b *Blocked) Error() string {
	if b.Until.IsZero() {
		return fmt.Sprintf("connection %s takes no calls now: %s", b.Connection, b.Why)
	}
	return fmt.Sprintf("connection %s takes no calls until %s: %s", b.Connection, b.Until.UTC().Format(time.RFC3339), b.Why)
}

// Unwrap gives it the code Throttled for those who do not know Blocked: nothing
// was sent, come back later.
func (b *Blocked) Unwrap() error {
	return &funnel.Error{Code: funnel.Throttled, Message: b.Error(), RetryAt: b.Until}
}
