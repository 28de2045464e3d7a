//go:build !faultpoint

package faultpoint

// Enabled reports whether this build has fault points.
const Enabled = false

// Hit does nothing; the name is for builds with the tag.
func Hit(string) {}
