// Command hookgate checks webhooks by hand: it says why a request is refused, signs one as the gateway would, and runs
// files of signed requests.
//
//	hookgate verify --provider github --secret-env GITHUB_SECRET request.http
//	hookgate sign --secret-file secret.txt --url https://example.com/hooks --curl body.json
//	hookgate verify -vectors signatures.json
//	hookgate providers
//
// Secrets come from files and environment variables, not from arguments, and are never printed.
package main

import "os"

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
