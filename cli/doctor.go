package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/config"
)

func (p *program) doctor() *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "doctor", Short: "Look at everything that a server needs", Args: noArgs,
		Long: `Look at what a server of the configuration needs: the data directory and its
permissions, the disk, the database (all of it is read), the clock, each connection with
its credential, and whether the server and its public address answer. Nothing is
changed, and a server may run meanwhile. Run it as the user that the server runs as.
Exit code 1 means that something does not work.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := config.Load(path, os.Getenv)
			if err != nil {
				return exitError{exitConfig, err}
			}
			found := app.Examine(cmd.Context(), app.Options{Config: c, Registry: p.registry, Version: Version()})
			if asJSON {
				e := json.NewEncoder(p.out)
				e.SetIndent("", "  ")
				err = e.Encode(found)
			} else {
				err = printFindings(p.out, found)
			}
			for _, f := range found {
				if f.Level == "wrong" {
					return failed(errors.Join(err, exitError{exitFailed, nil}))
				}
			}
			return failed(err)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "funnel.yaml", "configuration file")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func printFindings(w io.Writer, found []app.Finding) error {
	for _, f := range found {
		level, about := f.Level, f.About
		for line := range strings.Lines(f.Says) {
			if _, err := fmt.Fprintf(w, "%-8s %-22s %s\n", level, about, clean(strings.TrimRight(line, "\n"))); err != nil {
				return err
			}
			level, about = "", ""
		}
		if f.Do != "" {
			if _, err := fmt.Fprintf(w, "%-8s %-22s -> %s\n", "", "", clean(f.Do)); err != nil {
				return err
			}
		}
	}
	return nil
}
