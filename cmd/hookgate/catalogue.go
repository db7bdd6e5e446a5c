package main

import (
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hookgate/hookgate/signing"
)

func providersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "providers",
		Short:   "List the providers that verify knows",
		Example: "  hookgate providers",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tPROVIDER\tSETTINGS")
			for _, p := range signing.Providers() {
				fmt.Fprintf(w, "%s\t%s\t%s\n", p.Name, p.Title, settings(p.Settings))
			}
			return w.Flush()
		},
	}
}

// settings lists the names of settings; those in brackets may be left out.
func settings(all []signing.Setting) string {
	names := make([]string, len(all))
	for i, s := range all {
		if names[i] = s.Name; !s.Required {
			names[i] = "[" + s.Name + "]"
		}
	}
	return strings.Join(names, " ")
}
