// Package floors holds one test: every import points down. It has no code of its
// own.
package floors
