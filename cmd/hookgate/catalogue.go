package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/hookgate/hookgate/signing"
)

// What package signing has by name, in one place.

// providerNames lists the providers that verify takes, in order, with what they are called.
func providerNames() (names [][2]string) {
	for _, name := range signing.Presets() {
		names = append(names, [2]string{name, name})
	}
	return names
}

// signerNames lists what sign takes.
func signerNames() []string { return []string{"standard"} }

// signerFor gives a signer by its name.
func signerFor(name string) (signing.Signer, bool) {
	if name == "standard" {
		return signing.StandardWebhooks, true
	}
	return nil, false
}

func providersCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "providers",
		Short:   "List the providers that verify knows",
		Example: "  hookgate providers",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tPROVIDER")
			for _, p := range providerNames() {
				fmt.Fprintf(w, "%s\t%s\n", p[0], p[1])
			}
			return w.Flush()
		},
	}
}
