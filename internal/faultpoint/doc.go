// Package faultpoint names the durable boundaries: the moments between two
// things of which a crash may leave only the first. Hit marks one.
//
// A normal build has none of it: Hit is empty and the names are not in the
// program. Built with the tag faultpoint, the environment variable
// FUNNEL_FAULTPOINT says what happens at a point:
//
//	kill NAME N        the process kills itself (SIGKILL) at the Nth hit
//	stop NAME N FILE   who hits it the Nth time makes FILE.reached and waits until FILE exists
//
// The fault runs in test/fault kill the server at every point.
package faultpoint

// Variable is the environment variable that chooses a point.
const Variable = "FUNNEL_FAULTPOINT"
