package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"picket/cmd/internal/config"
	"picket/ingest"
)

func newKeysCmd(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "keys",
		Short:   "Make, list, rotate and destroy the keys of pseudonyms",
		GroupID: groupSetup,
		Example: "  picket keys new\n  picket keys list",
		Long: `Keys turn personal values into pseudonyms. They are all that links a pseudonym to a person: who has the
file can look people up with 'picket hash', and without it nobody can. Keep a copy where only you can read it.

The file holds one grouping key, which never changes, and pseudonym keys, which rotate. Destroying a
pseudonym key erases the link to everything stored under it.

Without a file, commands take that of the configuration: privacy.keys_file, or keys.json in data_dir.`,
	}
	cmd.AddCommand(newKeysNewCmd(e), newKeysListCmd(e), newKeysRotateCmd(e), newKeysDestroyCmd(e))
	return cmd
}

// keysPath is the key file: the argument, or the configured one.
func (e *env) keysPath(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], nil
	}
	path, err := e.configPath()
	if err != nil {
		return "", err
	}
	file, problems := config.KeysFile(path, e.lookup) // what else is wrong there keeps nobody from the keys
	return file, e.refuse(path, problems)
}

func newKeysNewCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "new [file]",
		Short:   "Make a new key file",
		Args:    cobra.MaximumNArgs(1),
		Long:    "New makes a file with new keys, at privacy.keys_file unless another is named. It never overwrites one.",
		Example: "  picket keys new\n  picket keys new /etc/picket/keys.json",
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := e.keysPath(args)
			if err != nil {
				return err
			}
			switch err := makeKeys(path); {
			case errors.Is(err, fs.ErrExist):
				at := e.sameFile(args)
				return &exitError{exitFailure, fmt.Errorf("%s is there already, and keys are never overwritten: without the old ones nothing that is stored could be looked up again.\nUse them as they are (picket keys list%s), or add a pseudonym key (picket keys rotate%s)", path, at, at)}
			case err != nil:
				return err
			}
			fmt.Fprintf(e.stdout, "%s: new keys, readable by you only. Keep a copy: without it no pseudonym can be looked up again.\n", path)
			return nil
		},
	}
}

func makeKeys(path string) error {
	k, err := ingest.NewKeyring(rand.Reader, time.Now())
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make keys: %w", err)
	}
	return k.WriteNew(path)
}

// sameFile is how another command is told of the same keys.
func (e *env) sameFile(args []string) string {
	if len(args) > 0 {
		return " " + args[0]
	}
	return e.sameConfig()
}

func (e *env) loadKeys(args []string) (*ingest.Keyring, string, error) {
	path, err := e.keysPath(args)
	if err != nil {
		return nil, "", err
	}
	k, err := ingest.LoadKeyring(path)
	if err != nil {
		return nil, "", keysError(path, e.sameFile(args), err)
	}
	return k, path, nil
}

func newKeysListCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "list [file]",
		Short:   "List the pseudonym keys, without their secrets",
		Args:    cobra.MaximumNArgs(1),
		Example: "  picket keys list",
		RunE: func(_ *cobra.Command, args []string) error {
			k, _, err := e.loadKeys(args)
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "KEY\tCREATED\tIN FORCE FROM")
			for _, key := range k.Keys() {
				from := "the start"
				if !key.NotBefore.IsZero() {
					from = key.NotBefore.Format(time.DateTime)
				}
				fmt.Fprintf(w, "%s\t%s\t%s\n", key.ID, key.Created.Format(time.DateTime), from)
			}
			return w.Flush()
		},
	}
}

func newKeysRotateCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "rotate [file]",
		Short:   "Add a pseudonym key for events from the next midnight on",
		Args:    cobra.MaximumNArgs(1),
		Example: "  picket keys rotate",
		Long: `Rotate adds a key: events from the next midnight (UTC) on get their pseudonyms under it, older ones keep
theirs, and a search with 'picket hash' looks under all of them. Alerts and windows are not touched. Restart every
'picket run' before midnight, so that all use it.`,
		RunE: func(_ *cobra.Command, args []string) error {
			k, path, err := e.loadKeys(args)
			if err != nil {
				return err
			}
			id, err := k.Rotate(rand.Reader, time.Now())
			if err != nil {
				return err
			}
			if err := k.Replace(path); err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s: key %s is in force from the next midnight (UTC); restart picket before that\n", path, id)
			return nil
		},
	}
}

func newKeysDestroyCmd(e *env) *cobra.Command {
	return &cobra.Command{
		Use:     "destroy <key> [file]",
		Short:   "Erase a pseudonym key, and with it the link to everything stored under it",
		Args:    cobra.RangeArgs(1, 2),
		Example: "  picket keys list\n  picket keys destroy k7phl5a6e",
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(args) > 0 {
				return nil, cobra.ShellCompDirectiveDefault
			}
			k, _, err := e.quiet().loadKeys(nil)
			if err != nil {
				return nil, cobra.ShellCompDirectiveError
			}
			return destroyable(k, time.Now()), cobra.ShellCompDirectiveNoFileComp
		},
		Long: `Destroy erases a key that is not in force any more. It cannot be undone: what was stored under the key stays,
and nobody can link it to a person again, by 'picket hash' or otherwise. Copies of the key file still hold it.`,
		RunE: func(_ *cobra.Command, args []string) error {
			k, path, err := e.loadKeys(args[1:])
			if err != nil {
				return err
			}
			if now := time.Now(); k.InForce(now) == args[0] {
				return &exitError{exitFailure, fmt.Errorf("key %s is in force: events get their pseudonyms under it. Rotate first, and destroy it once the new key is in force (picket keys list)", args[0])}
			}
			if err := k.Destroy(args[0]); err != nil {
				return err
			}
			if err := k.Replace(path); err != nil {
				return err
			}
			fmt.Fprintf(e.stdout, "%s: key %s is gone; copies of the file still hold it\n", path, args[0])
			return nil
		},
	}
}

// destroyable are the keys that are not in force, with when they came into it.
func destroyable(k *ingest.Keyring, now time.Time) (out []string) {
	for _, key := range k.Keys() {
		if key.ID != k.InForce(now) {
			out = append(out, key.ID+"\tin force from "+key.NotBefore.Format(time.DateTime))
		}
	}
	return out
}
