//go:build !faultpoint

package store

// synchronous has SQLite fsync before it says that a transaction is committed
// (https://www.sqlite.org/pragma.html#pragma_synchronous).
func synchronous() string { return "FULL" }
