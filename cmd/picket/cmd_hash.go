package main

import (
	"bufio"
	"fmt"
	"net/netip"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"picket/detect"
	"picket/detect/diag"
)

func newHashCmd(e *env) *cobra.Command {
	var tenant string
	cmd := &cobra.Command{
		Use:     "hash <field> [value]",
		Short:   "Look up the pseudonyms of a value, to search the store for it",
		GroupID: groupLook,
		Args:    cobra.RangeArgs(1, 2),
		Long: `Hash prints the pseudonyms that a value has under every key that is left, oldest first. Search the store
for any of them: net.ip is the column net_ip, and so on; mcp.resource, http.path and perm.resource have theirs
in mcp_resource_hash, http_path_hash and perm_resource_hash, and a label is in labels['its key'].

Without a value it reads one from standard input, which keeps it out of the shell's history.`,
		Example: `  picket hash net.ip 203.0.113.9
  picket hash actor.subject <<< alice@example.com
  picket hash label:team payments`,
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return pseudonymFields(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			class, err := hashClass(args[0])
			if err != nil {
				return err
			}
			value := ""
			if len(args) == 2 {
				value = args[1]
			} else {
				line, err := bufio.NewReader(e.stdin).ReadString('\n')
				if line == "" {
					return fmt.Errorf("read the value from standard input: %w", err)
				}
				value = strings.TrimRight(line, "\r\n")
			}
			keys, _, err := e.loadKeys(nil)
			if err != nil {
				return err
			}
			if _, err := netip.ParseAddr(detect.Normalize(class, value)); class == "ip" && err != nil {
				fmt.Fprintf(e.stderr, "note: this is no IP address: it is looked up as it is written, and finds only events that have the same text\n")
			}
			w := tabwriter.NewWriter(e.stdout, 0, 0, 2, ' ', 0)
			for _, f := range keys.Lookup(tenant, class, value) {
				fmt.Fprintf(w, "%s\t%s\n", f.Hash, f.Key)
			}
			return w.Flush()
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "default", "`tenant` of the events")
	return cmd
}

// hashClass is the class under which a field's values are hashed.
func hashClass(name string) (string, error) {
	if strings.HasPrefix(name, "label:") && len(name) > len("label:") {
		return name, nil
	}
	f, ok := detect.FieldByName(name)
	switch p := f.Info().Privacy; {
	case !ok:
		hint := "use one of " + strings.Join(pseudonymFields(), ", ") + ", or label:<key>"
		if near := diag.Closest(name, pseudonymFields()); near != "" {
			hint = "did you mean " + near + "?"
		}
		return "", usagef("there is no field %q: %s", name, hint)
	case p != detect.Pseudo && p != detect.Path:
		return "", usagef("%s is not stored as a pseudonym: use one of %s, or label:<key>", name, strings.Join(pseudonymFields(), ", "))
	}
	if f.Info().Privacy == detect.Path {
		return "path", nil
	}
	return f.Class(), nil
}

func pseudonymFields() []string {
	var out []string
	for f := range detect.NumFields {
		if p := f.Info().Privacy; p == detect.Pseudo || p == detect.Path {
			out = append(out, f.String())
		}
	}
	return out
}
