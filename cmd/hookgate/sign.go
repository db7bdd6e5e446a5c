package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hookgate/hookgate/signing"
)

type signFlags struct {
	signer            string
	url, method       string
	id, eventType     string
	time, contentType string
	curl              bool
	secrets           secretFlags
}

func signCommand() *cobra.Command {
	f := &signFlags{}
	cmd := &cobra.Command{
		Use:   "sign --secret-file FILE [--signer NAME] [--url URL --curl] [BODY]",
		Short: "Sign a body as the gateway would, to try a receiver",
		Long: `Sign signs a body as the gateway would and prints the headers, or with --curl a command line that sends it.

BODY is a file; without it, or with "-", the body is read from the standard input. It is signed byte for byte. Several
secrets make several signatures, as while a secret is being changed.`,
		Example: `  hookgate sign --secret-file secret.txt body.json
  hookgate sign --secret-env SECRET --url https://example.com/hooks --curl body.json | sh`,
		Args: cobra.MaximumNArgs(1),
		RunE: f.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&f.signer, "signer", "standard", "how to sign, one of "+strings.Join(signing.Signers(), ", ")+": a `name`")
	fs.StringVar(&f.signer, "provider", "standard", "the same as --signer: a `name`")
	fs.StringVar(&f.url, "url", "", "the receiver's `URL`")
	fs.StringVar(&f.method, "method", http.MethodPost, "the request's `method`")
	fs.StringVar(&f.id, "id", "", "the event's `ID`; a random one if not given")
	fs.StringVar(&f.eventType, "type", "", "the event's `type`, for signers that send it in a header")
	fs.StringVar(&f.time, "time", "", "the `time` to sign, RFC 3339 or Unix seconds; now if not given")
	fs.StringVar(&f.contentType, "content-type", "application/json", "the body's `type`")
	fs.BoolVar(&f.curl, "curl", false, "print a command line of curl")
	f.secrets.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("signer", "provider")
	return cmd
}

func (f *signFlags) run(cmd *cobra.Command, args []string) error {
	signer, ok := signing.SignerFor(f.signer)
	if !ok {
		return fmt.Errorf("there is no signer %q; there is %s", f.signer, strings.Join(signing.Signers(), ", "))
	}
	if f.url != "" || f.curl {
		if u, err := url.Parse(f.url); err != nil || u.Host == "" {
			return errors.New("--url must be a whole URL, such as https://example.com/hooks")
		}
	}
	at := time.Now()
	if f.time != "" {
		var err error
		if at, err = parseTime(f.time); err != nil {
			return fmt.Errorf("--time: %w", err)
		}
	}
	secrets, err := f.secrets.read()
	if err != nil {
		return err
	}
	if len(secrets) == 0 && signer != signing.Unsigned {
		return errors.New(giveSecret)
	}
	body, err := readInput(cmd, args)
	if err != nil {
		return err
	}
	if f.id == "" {
		f.id = "msg_" + rand.Text()
	}
	header := http.Header{"Content-Type": {f.contentType}}
	message := signing.Message{ID: f.id, Time: at, Type: f.eventType, Method: f.method, URL: f.url, ContentType: f.contentType, Body: body}
	if err := signer.Sign(header, message, secrets); err != nil {
		return errors.New(bare(err))
	}
	if f.curl {
		return f.printCurl(cmd.OutOrStdout(), header, body, args)
	}
	for _, line := range headerLines(header) {
		if _, err := fmt.Fprintln(cmd.OutOrStdout(), line); err != nil {
			return err
		}
	}
	return nil
}

// printCurl prints a command line that sends what was signed: the body out of its file, or written out.
func (f *signFlags) printCurl(out io.Writer, header http.Header, body []byte, args []string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "curl -X %s", quote(f.method))
	for _, line := range headerLines(header) {
		fmt.Fprintf(&b, " \\\n  -H %s", quote(line))
	}
	switch {
	case len(args) > 0 && args[0] != "-":
		fmt.Fprintf(&b, " \\\n  --data-binary %s", quote("@"+args[0]))
	case utf8.Valid(body) && strings.IndexByte(string(body), 0) < 0:
		fmt.Fprintf(&b, " \\\n  --data-raw %s", quote(string(body)))
	default:
		return errors.New("the body is no text, and cannot stand in a command line: put it into a file")
	}
	fmt.Fprintf(&b, " \\\n  %s\n", quote(f.url))
	_, err := io.WriteString(out, b.String())
	return err
}

// quote makes a word for a POSIX shell.
func quote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./:@%+=,", r))
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
