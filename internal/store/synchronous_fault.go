//go:build faultpoint

package store

import (
	"cmp"
	"os"
)

// synchronous is as in other builds, unless a fault run wants to see that it
// matters.
func synchronous() string { return cmp.Or(os.Getenv("FUNNEL_FAULT_SYNCHRONOUS"), "FULL") }
