//go:build faultpoint

package store

import "os"

// fenced is as in other builds, unless a fault run wants to see that it matters.
func fenced() bool { return os.Getenv("FUNNEL_FAULT_FENCE") != "off" }
