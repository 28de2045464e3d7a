// Command funnel is the security-automation server. Copy this file for a build
// with your own integrations and playbooks.
package main

import (
	"os"

	"github.com/funnelsec/funnel"
	"github.com/funnelsec/funnel/cli"
	"github.com/funnelsec/funnel/integrations/all"
	"github.com/funnelsec/funnel/playbooks"
)

func main() {
	registry := funnel.NewRegistry().Add(all.Integrations()...).AddPlaybooks(playbooks.All()...)
	os.Exit(cli.Main(registry, os.Args[1:]))
}
