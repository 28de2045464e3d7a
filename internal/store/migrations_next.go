//go:build nextschema

package store

import "embed"

// A build with the tag nextschema is what a next version might be to this one: it
// has one more migration, that only adds. The fault runs upgrade to it.
//
//go:embed migrations/*.sql next/*.sql
var migrations embed.FS
