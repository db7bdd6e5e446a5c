package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes.
const (
	exitGood  = 0
	exitBad   = 1 // a request is refused, an entry comes out wrong
	exitUsage = 2 // nothing could be decided: a wrong flag, a file that is not there, a secret that is none
)

// errBad ends the command with exitBad. What there is to say was printed.
var errBad = errors.New("a verdict is bad")

// run is the command without its process: it answers the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(twoDashes(args))
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	switch cmd, err := root.ExecuteC(); {
	case err == nil:
		return exitGood
	case errors.Is(err, errBad):
		return exitBad
	default:
		fmt.Fprintf(stderr, "hookgate: %v\n", err)
		fmt.Fprintf(stderr, "See %s --help.\n", cmd.CommandPath())
		return exitUsage
	}
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "hookgate",
		Short:         "Verify, sign and explain webhooks by hand",
		Long:          "Hookgate verifies, signs and explains webhooks by hand.\n\nFlags may be written with one dash or with two.",
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return errors.New("say what to do: verify, sign, providers or version")
		},
	}
	root.CompletionOptions.DisableDefaultCmd = true
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		if name, _, _ := strings.Cut(err.Error(), "="); strings.HasSuffix(name, " --secret") {
			return errors.New("a secret is not taken as an argument, which every user of the machine can read: use --secret-file or --secret-env")
		}
		return err
	})
	root.AddCommand(verifyCommand(), signCommand(), providersCommand(), versionCommand())
	return root
}

// twoDashes lets flags be written with one dash, as Go's own tools do: there is no flag of one letter but -h. What follows
// "--" is left alone.
func twoDashes(args []string) []string {
	out := make([]string, 0, len(args))
	for i, arg := range args {
		if arg == "--" {
			return append(out, args[i:]...)
		}
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' {
			arg = "-" + arg
		}
		out = append(out, arg)
	}
	return out
}
