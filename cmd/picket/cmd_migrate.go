package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"picket/cmd/internal/app"
	"picket/store"
)

func newMigrateCmd(e *env) *cobra.Command {
	var dryRun bool
	var cluster string
	cmd := &cobra.Command{
		Use:     "migrate",
		Short:   "Bring the ClickHouse schema up to date",
		GroupID: groupSetup,
		Args:    cobra.NoArgs,
		Long: `Migrate applies the numbered schema changes that the database does not have yet, and records them.
Where a table is gone that was made before, it is made again, empty.
'picket run' does the same when its store role starts; run it by hand where that role may not change tables.`,
		Example: "  picket migrate --dry-run\n  picket migrate",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := e.config()
			if err != nil {
				return err
			}
			if cfg.ClickHouse.URL == "" {
				return &exitError{exitConfig, errors.New("clickhouse.url is empty: the embedded engine is migrated by 'picket run' itself")}
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), 5*time.Minute)
			defer cancel()
			db, err := store.Open(ctx, app.StoreConfig(cfg))
			if store.Classify(err) == store.Retry && err != nil {
				return &exitError{exitUnavailable, err}
			}
			if err != nil {
				return classify(err)
			}
			defer db.Close()
			o := store.MigrateOptions{Cluster: cluster, Remake: true}
			if dryRun {
				o.DryRun = e.stdout
			}
			done, err := store.Migrate(ctx, db, o)
			if err != nil {
				return classify(err)
			}
			for _, m := range done {
				fmt.Fprintf(e.stderr, "%04d %s\n", m.Number, m.Name)
			}
			switch {
			case len(done) == 0:
				fmt.Fprintln(e.stderr, "the schema is up to date")
			case dryRun:
				fmt.Fprintf(e.stderr, "%s to apply; nothing was changed\n", count(len(done), "migration"))
			default:
				fmt.Fprintf(e.stderr, "%s applied\n", count(len(done), "migration"))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the statements and change nothing")
	cmd.Flags().StringVar(&cluster, "cluster", "", "make the DDL ON CLUSTER `name` with Replicated engines (parsed by the engine, not yet run on a cluster)")
	return cmd
}
