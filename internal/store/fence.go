//go:build !faultpoint

package store

// fenced reports whether late writes are refused.
func fenced() bool { return true }
