package signing_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hookgate/hookgate/signing"
)

var update = flag.Bool("update", false, "write docs/providers.md anew")

// providersHead is what stands above the table.
var providersHead = `# Providers

Hookgate can prove the sender of these providers' webhooks: ` + "`signing.ForProvider(name, signing.Options{}, secret)`" + `.
This page is made from the catalogue in the package ` + "`signing`" + `; ` + "`go test ./signing -run ProvidersPage -update`" + ` writes
it anew.

## How to add a provider

1. Write one row, in the file of ` + "`signing/providers_*.go`" + ` that is nearest in kind. Most are one line: where the signature
   is, with which hash and encoding, and where the event's type and ID are.

   ` + "```" + `
   "acme": row("Acme", VendorDocs, signsBody("X-Acme-Signature", HMACSHA256, Hex).after("sha256=").
   	typeFrom(JSON("event")).idFrom(Header("X-Acme-Delivery"))),
   ` + "```" + `

   Say honestly where the rule is from: ` + sources + `. Leave the ID empty unless the
   provider says that it is one of a kind: events that share an ID are taken for repeats, and lost.
2. Add its published examples to ` + "`testdata/vectors/signatures.json`" + ` and its name to ` + "`presetOf`" + ` in
   ` + "`signing/vectors_test.go`" + `. If it publishes none, write its rule a second time, from its documents, into
   ` + "`signing/roundtrip_test.go`" + `. A row that nothing tries fails the tests.
3. Write this page anew.

A provider for which no row is enough, because it fetches certificates, say, is code in a file of its own. For a provider
of yours alone, give a ` + "`signing.Scheme`" + ` to ` + "`signing.NewVerifier`" + `: no change to hookgate is needed.

## What the columns say

- *Proof*: the header or field with the signature or token, and how it begins.
- *Signs*: what is signed, in this order, with nothing between. A ` + "`\"text\"`" + ` in quotes stands for itself; what is in
  [brackets] is left out where the request does not have it.
- *Time*: where the timestamp is, its unit, and how far it may be off. "No limit" is what the provider does: it signs the time
  and does not compare it, so an old request can be repeated as long as nothing else drops it.
- *Covers*: what the proof is worth. "Body": the whole body is protected. "Metadata": some fields are, the body is not.
  "Nothing": the sender shows a token; whoever reads one request can make others.
- *Type*, *ID*: where the event's type and ID come from. Empty: the provider says none. Where a request holds several events,
  the type is that of the first.
- *Order*: events that have the same there are delivered one after the other, unless a subscription does not want that.
- *Source*: ` + sources + `, that is, a library or directory by somebody else: have one
  real request verified before you rely on such a row.

`

var sources = fmt.Sprintf("%q, %q or %q", signing.VendorCode, signing.VendorDocs, signing.ThirdParty)

// providersPage makes the page.
func providersPage() string {
	var b strings.Builder
	b.WriteString(providersHead)
	all := signing.Providers()
	fmt.Fprintf(&b, "## The %d providers\n\n", len(all))
	line := func(cells ...string) {
		for _, c := range cells {
			b.WriteString("| " + strings.ReplaceAll(c, "|", `\|`) + " ")
		}
		b.WriteString("|\n")
	}
	line("Name", "Provider", "Proof", "Made with", "Signs", "Time", "Secret", "Covers", "Type", "ID", "Order", "Handshake", "Settings", "Source")
	line(slices.Repeat([]string{"---"}, 14)...)
	for _, p := range all {
		var settings []string
		for _, s := range p.Settings {
			text := "`" + s.Name + "`: " + s.Doc
			if s.Required {
				text += " (required)"
			}
			settings = append(settings, text)
		}
		line("`"+p.Name+"`", p.Title, p.Header, p.Algorithm, p.Signs, p.Time, p.Secret, p.Covers.String(), p.Type, p.ID, p.Order,
			p.Handshake, strings.Join(settings, "; "), p.Source)
	}
	return b.String()
}

func TestProvidersPageIsUpToDate(t *testing.T) {
	name := filepath.Join("..", "docs", "providers.md")
	want := providersPage()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s does not say what the catalogue says; write it anew: go test ./signing -run ProvidersPage -update", name)
	}
}

// TestEveryProviderIsDescribed: a cell of the table that is empty by mistake tells a user that there is nothing.
func TestEveryProviderIsDescribed(t *testing.T) {
	t.Parallel()
	all := signing.Providers()
	if !slices.IsSortedFunc(all, func(a, b signing.Provider) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("Providers are not sorted")
	}
	for _, p := range all {
		for _, c := range []struct{ field, text string }{
			{"Title", p.Title}, {"Header", p.Header}, {"Algorithm", p.Algorithm}, {"Secret", p.Secret}, {"Source", p.Source},
		} {
			if c.text == "" {
				t.Errorf("%s: %s is empty", p.Name, c.field)
			}
		}
		if !slices.Contains([]string{signing.VendorCode, signing.VendorDocs, signing.ThirdParty}, p.Source) {
			t.Errorf("%s: the source %q is none of the three", p.Name, p.Source)
		}
		if (p.Signs == "") != (p.Covers == signing.CoversNothing) {
			t.Errorf("%s signs %q and covers %v", p.Name, p.Signs, p.Covers)
		}
		if strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			t.Errorf("%q is not a plain name", p.Name)
		}
		for _, s := range p.Settings {
			if s.Name == "" || s.Doc == "" {
				t.Errorf("%s: a setting without a name or a word about it", p.Name)
			}
		}
	}
}

// TestNoRowHidesAnother: two rows of one name in two files would leave one of them, and nobody would see which.
func TestNoRowHidesAnother(t *testing.T) {
	t.Parallel()
	if n := signing.DuplicateRows(); len(n) > 0 {
		t.Errorf("these names are in two files: %q", n)
	}
}
