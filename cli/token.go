package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel/internal/auth"
	"github.com/funnelsec/funnel/internal/config"
)

func (p *program) token() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "token", Short: "Replace the API's admin token and print the new one", Args: noArgs,
		Long: `Replace the API's admin token and print the new one, once. The old one ends at
once, also at a server that is running.`,
		RunE: func(*cobra.Command, []string) error {
			c, err := config.Load(path, os.Getenv)
			if err != nil {
				return exitError{exitConfig, err}
			}
			if _, err := os.Stat(c.Data); err != nil {
				return failed(fmt.Errorf("reading the data directory: %w; the first start of the server makes it", err))
			}
			tokens, _, err := auth.Open(c.Data, time.Now)
			if err != nil {
				return failed(err)
			}
			fresh, err := tokens.Rotate()
			if err == nil {
				_, err = fmt.Fprintln(p.out, fresh)
			}
			return failed(errors.Join(err, tokens.Close()))
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "funnel.yaml", "configuration file")
	return cmd
}
