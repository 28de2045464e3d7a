package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/funnelsec/funnel/internal/app"
	"github.com/funnelsec/funnel/internal/backup"
	"github.com/funnelsec/funnel/internal/config"
)

// oneFile asks for exactly one argument.
func oneFile(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s needs the name of one file, see \"%[1]s --help\"", cmd.CommandPath())
	}
	return nil
}

var errShared = errors.New("the data is in PostgreSQL: use its own tools, such as pg_dump or archived WAL; docs/guide/backup.md says how")

func (p *program) backup() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "backup FILE", Short: "Write the data to a file, also while the server runs", Args: oneFile,
		Long: `Write a backup of the data directory to a new file: the database as it is at one
moment, with the API's tokens. The server may run meanwhile. The copy is checked, and
the file has SHA-256 sums of what is in it; it is there when it is complete, or not at
all. It holds what alerts held: keep it as safe as the server. The configuration and
its secrets are not in it.`,
		Example: `  funnel backup /var/backups/funnel-$(date +%F).tar -c /etc/funnel/funnel.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(path, os.Getenv)
			if err != nil {
				return exitError{exitConfig, err}
			}
			if c.Database.Shared() {
				return failed(errShared)
			}
			m, err := backup.Write(cmd.Context(), c.Data, args[0], Version(), time.Now())
			if err != nil {
				return failed(err)
			}
			_, err = fmt.Fprintf(p.out, "%s: %d bytes of the database of %s\n", args[0], m.Files[0].Size, m.MadeAt.Format(time.RFC3339))
			return failed(err)
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "funnel.yaml", "configuration file")
	return cmd
}

func (p *program) restore() *cobra.Command {
	var path string
	var replace, mark bool
	cmd := &cobra.Command{
		Use: "restore FILE", Short: "Put a backup back, while no server runs",
		Long: `Put the data of a backup into the data directory. No server may run. Everything in
the file is checked first. With --replace, what is there is moved aside, else it is
left alone and the command refuses.

For a week after a restore, the server looks whether a ticket, a comment or what else
is about to be made is there already, for what was made after the backup is not in it:
when the same alert comes again, its ticket is found and not opened twice.

--mark is for a database that was restored by other means, such as pg_restore or a
snapshot of the disk: it only notes that, so that the server looks as said above.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if mark {
				return noArgs(cmd, args)
			}
			return oneFile(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := config.Load(path, os.Getenv)
			if err != nil {
				return exitError{exitConfig, err}
			}
			if mark {
				return failed(p.markRestored(cmd.Context(), c))
			}
			if c.Database.Shared() {
				return failed(errShared)
			}
			m, aside, err := backup.Restore(cmd.Context(), args[0], c.Data, replace, time.Now())
			if err != nil {
				return failed(err)
			}
			fmt.Fprintf(p.out, "%s has the data of %s\n", c.Data, m.MadeAt.Format(time.RFC3339))
			if aside != "" {
				fmt.Fprintf(p.out, "what was there is in %s\n", aside)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&path, "config", "c", "funnel.yaml", "configuration file")
	cmd.Flags().BoolVar(&replace, "replace", false, "move aside what is in the data directory")
	cmd.Flags().BoolVar(&mark, "mark", false, "only note that the database was restored by other means")
	return cmd
}

func (p *program) markRestored(ctx context.Context, c *config.Config) error {
	if err := app.MarkRestored(ctx, c); err != nil {
		return err
	}
	_, err := fmt.Fprintln(p.out, "the database is marked as restored")
	return err
}
