package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hookgate/hookgate/signing"
)

// secretFlags are where secrets come from. There is no flag for the secret itself: arguments stand in the list of
// processes and in the history of the shell.
type secretFlags struct {
	files, envs []string
}

func (f *secretFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.files, "secret-file", nil, "a `file` that holds the secret; may be given several times")
	cmd.Flags().StringArrayVar(&f.envs, "secret-env", nil, "an environment `variable` that holds the secret; may be given several times")
}

const giveSecret = "give the secret with --secret-file FILE or --secret-env VARIABLE"

// read gives the secrets, those of files first. None if no flag is given. No error of it holds one.
func (f *secretFlags) read() ([]signing.Secret, error) {
	var secrets []signing.Secret
	for _, name := range f.files {
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("--secret-file: %w", err)
		}
		text := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r") // an editor ends every file so
		if text == "" {
			return nil, fmt.Errorf("--secret-file: %s is empty", name)
		}
		secrets = append(secrets, signing.NewSecret(text))
	}
	for _, name := range f.envs {
		text := os.Getenv(name)
		if text == "" {
			// The name could be the secret itself, by mistake.
			return nil, errors.New("--secret-env: there is no environment variable of that name, or it is empty; give its name without $")
		}
		secrets = append(secrets, signing.NewSecret(text))
	}
	return secrets, nil
}
