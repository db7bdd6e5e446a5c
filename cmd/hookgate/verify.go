package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store/memory"
)

// maxInput is how much is read of a request.
const maxInput = 64 << 20

type verifyFlags struct {
	vectors       string
	provider      string
	settings      []string
	url, now      string
	secrets       secretFlags
	anyOfOneEvent []string // the flags that go with one request
}

func verifyCommand() *cobra.Command {
	f := &verifyFlags{anyOfOneEvent: []string{"provider", "setting", "url", "now", "secret-file", "secret-env"}}
	cmd := &cobra.Command{
		Use:   "verify {--provider NAME --secret-file FILE [REQUEST] | --vectors FILE}",
		Short: "Say whether a request is genuine, and if not, why",
		Long: `Verify says whether a request is genuine and what is known about it, or why it is refused and what to do.

REQUEST is a file with the request as it went over the wire (request line, headers, empty line, body) or with a command
line of curl; without REQUEST, or with "-", it is read from the standard input. A command line of curl can also follow
behind "--". The body must be what was sent, byte for byte.

With --vectors it runs a file of requests with the verdicts that are right, prints the entries that come out wrong, and
how many there are.

The exit code is 0 if the request is genuine (all entries are right), 1 if it is refused (an entry is wrong or cannot be
run), and 2 if nothing could be decided.`,
		Example: `  hookgate verify --provider github --secret-env GITHUB_SECRET request.http
  pbpaste | hookgate verify --provider stripe --secret-file secret.txt --now 2026-11-25T09:00:00Z
  hookgate verify --provider square --secret-file key.txt --url https://shop.example.com/in/square request.http
  hookgate verify --provider slack --secret-env SLACK -- curl -H 'X-Slack-Signature: v0=...' -d @body.json https://example.com/in
  hookgate verify -vectors signatures.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 && cmd.ArgsLenAtDash() != 0 {
				return errors.New("give one REQUEST; a command line of curl goes behind --, or in quotes")
			}
			return nil
		},
		RunE: f.run,
	}
	fs := cmd.Flags()
	fs.StringVar(&f.vectors, "vectors", "", "run the entries of this `file`")
	fs.StringVar(&f.provider, "provider", "", "who sent the request, see hookgate providers: a `name`")
	fs.StringArrayVar(&f.settings, "setting", nil, "a setting of the provider, as `name=value`; may be given several times")
	fs.StringVar(&f.url, "url", "", "the public `URL` as the provider knows it, where it is not the one in the request")
	fs.StringVar(&f.now, "now", "", "the `time` at which the request came in, RFC 3339 or Unix seconds; the clock's if not given")
	f.secrets.add(cmd)
	return cmd
}

func (f *verifyFlags) run(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("vectors") {
		for _, name := range f.anyOfOneEvent {
			if cmd.Flags().Changed(name) {
				return fmt.Errorf("--%s does not go with --vectors: the file says it for each entry", name)
			}
		}
		if len(args) > 0 {
			return errors.New("a REQUEST does not go with --vectors; is the name of the file behind the flag?")
		}
		return runVectors(f.vectors, cmd.OutOrStdout())
	}
	verifier, err := f.verifier()
	if err != nil {
		return err
	}
	request, notes, err := f.request(cmd, args)
	if err != nil {
		return err
	}
	for _, note := range notes {
		fmt.Fprintf(cmd.ErrOrStderr(), "note: %s\n", note)
	}
	return report(cmd.OutOrStdout(), verifier, request)
}

func (f *verifyFlags) verifier() (signing.Verifier, error) {
	if f.provider == "" {
		return nil, errors.New("say who sent the request with --provider NAME; hookgate providers lists the names")
	}
	if !slices.ContainsFunc(signing.Providers(), func(p signing.Provider) bool { return p.Name == f.provider }) {
		return nil, fmt.Errorf("--provider: there is no provider %q; hookgate providers lists the names", f.provider)
	}
	settings := map[string]string{}
	for _, s := range f.settings {
		name, value, ok := strings.Cut(s, "=")
		if !ok || name == "" {
			return nil, errors.New("--setting is written as name=value")
		}
		if _, twice := settings[name]; twice {
			return nil, fmt.Errorf("--setting %s is given twice", name)
		}
		settings[name] = value
	}
	secrets, err := f.secrets.read()
	if err != nil {
		return nil, err
	}
	client, err := guardedClient()
	if err != nil {
		return nil, err
	}
	verifier, err := signing.ForProvider(f.provider, signing.Options{Settings: settings, Client: client}, secrets...)
	switch {
	case err == nil:
		return verifier, nil
	case strings.Contains(err.Error(), ": the setting "):
		return nil, fmt.Errorf("%s; settings are given with --setting NAME=VALUE", strings.TrimSuffix(bare(err), "."))
	case len(secrets) == 0: // some providers need none, because they publish their keys
		return nil, fmt.Errorf("%s; %s", bare(err), giveSecret)
	default:
		return nil, errors.New(bare(err))
	}
}

// guardedClient fetches the keys of providers that publish theirs. A request can name the place, so it connects to
// public addresses only, as a gateway does.
func guardedClient() (*http.Client, error) {
	store, err := memory.New()
	if err != nil {
		return nil, err
	}
	gw, err := hookgate.New(&hookgate.Config{Store: store, PlainSecrets: true})
	if err != nil {
		return nil, err
	}
	return gw.HTTPClient(), nil
}

// request reads the request from where the arguments say.
func (f *verifyFlags) request(cmd *cobra.Command, args []string) (*signing.Request, []string, error) {
	var request *signing.Request
	var notes []string
	var err error
	switch {
	case len(args) > 0 && args[0] == "curl":
		request, err = parseCurl(args[1:])
	case len(args) > 1:
		return nil, nil, errors.New("behind -- there must be a command line that begins with curl")
	case len(args) == 1 && strings.HasPrefix(args[0], "curl "):
		request, notes, err = parseRequest([]byte(args[0]))
	default:
		var text []byte
		if text, err = readInput(cmd, args); err == nil {
			request, notes, err = parseRequest(text)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if f.url != "" {
		if u, err := url.Parse(f.url); err != nil || u.Host == "" {
			return nil, nil, errors.New("--url must be a whole URL, such as https://example.com/in")
		}
		request.URL = f.url
	}
	if f.now != "" {
		if request.Time, err = parseTime(f.now); err != nil {
			return nil, nil, fmt.Errorf("--now: %w", err)
		}
	}
	return request, notes, nil
}

// readInput reads the file that the argument names, or the standard input.
func readInput(cmd *cobra.Command, args []string) ([]byte, error) {
	in := cmd.InOrStdin()
	if len(args) > 0 && args[0] != "-" {
		f, err := os.Open(args[0])
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
	if err == nil && len(data) > maxInput {
		err = fmt.Errorf("there are more than %d MiB to read", maxInput>>20)
	}
	return data, err
}

func parseTime(text string) (time.Time, error) {
	if seconds, err := strconv.ParseInt(text, 10, 64); err == nil {
		return time.Unix(seconds, 0), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, errors.New("must be a time as in RFC 3339, such as 2026-11-25T09:00:00Z, or Unix seconds")
	}
	return at, nil
}

// report verifies the request and says what came out.
func report(out io.Writer, verifier signing.Verifier, r *signing.Request) error {
	if h, ok := verifier.(signing.Handshaker); ok && isHandshakeMethod(h, r.Method) {
		switch reply, err := h.Handshake(r); {
		case err != nil:
			fmt.Fprintf(out, "refused: %s\nIt is a handshake.\n", bare(err))
			return errBad
		case reply != nil:
			return reportHandshake(out, reply)
		}
	}
	verdict, err := verifier.Verify(r)
	if err != nil {
		fmt.Fprintf(out, "refused: %s\n", bare(err))
		return errBad
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "accepted")
	for _, line := range [][2]string{
		{"type", verdict.Type},
		{"id", verdict.ID},
		{"ordering key", verdict.OrderingKey},
		{"subject", verdict.Subject},
	} {
		if line[1] != "" {
			fmt.Fprintf(w, "%s\t%s\n", line[0], printable(line[1]))
		}
	}
	if verdict.Key >= 0 {
		fmt.Fprintf(w, "fits\tsecret %d\n", verdict.Key+1)
	}
	fmt.Fprintf(w, "covers\t%s\n", coverage[verdict.Covers])
	return w.Flush()
}

var coverage = map[signing.Covers]string{
	signing.CoversBody:     "body: all of it is signed",
	signing.CoversMetadata: "metadata: some fields are signed, the body as a whole is not",
	signing.CoversNothing:  "nothing: the sender showed that it is allowed to send, and the content is not signed",
}

func isHandshakeMethod(h signing.Handshaker, method string) bool {
	return slices.Contains(h.HandshakeMethods(), method)
}

func reportHandshake(out io.Writer, reply *signing.Reply) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "accepted, as a handshake")
	fmt.Fprintf(w, "answer\t%d %s\n", reply.Status, http.StatusText(reply.Status))
	for _, line := range headerLines(reply.Header) {
		fmt.Fprintf(w, "\t%s\n", printable(line))
	}
	if len(reply.Body) > 0 {
		fmt.Fprintf(w, "\t%s\n", printable(string(reply.Body)))
	}
	return w.Flush()
}

// headerLines gives headers as lines, in order.
func headerLines(h http.Header) (lines []string) {
	for name, values := range h {
		for _, value := range values {
			lines = append(lines, name+": "+value)
		}
	}
	slices.Sort(lines)
	return lines
}

// bare is an error without the name of the package in front.
func bare(err error) string { return strings.TrimPrefix(err.Error(), "signing: ") }

// printable keeps what a stranger wrote from doing anything to the terminal.
func printable(text string) string {
	if utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return text
	}
	return strconv.Quote(text)
}
