package hookgate_test

import (
	"bytes"
	"context"
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

// The quickstart of the README, word for word: TestReadmeQuickstartIsTheExample sees to that.
func Example() {
	// The consumer: an HTTP server that knows the secret.
	secret := signing.StandardWebhooks.NewSecret()
	verifier, err := signing.Standard(secret)
	if err != nil {
		log.Fatal(err)
	}
	received := make(chan string, 1)
	consumer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if _, err := verifier.Verify(&signing.Request{Method: r.Method, Header: r.Header, Body: body}); err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		received <- string(body)
	}))
	defer consumer.Close()

	// The gateway: a folder. In your program it is one that stays, such as "hooks".
	dir, err := os.MkdirTemp("", "hooks")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	gw, err := hookgate.Open(dir, &hookgate.Config{
		AllowPrivate: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, // the consumer is on this machine
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gw.Close()
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go gw.Run(ctx) // delivers; returns after a clean stop

	// Who gets what.
	_, _, err = gw.CreateEndpoint(ctx, hookgate.Endpoint{
		URL:           consumer.URL,
		Subscriptions: []hookgate.Subscription{{Types: []string{"invoice.*"}}},
	}, secret)
	if err != nil {
		log.Fatal(err)
	}

	// When Publish returns nil, the event is on disk with one delivery for each endpoint that wants it.
	_, err = gw.Publish(ctx, hookgate.Event{Type: "invoice.paid", Payload: []byte(`{"invoice":17}`)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("received and verified:", <-received)
	// Output: received and verified: {"invoice":17}
}

// wrapImports is what a block that is no whole program may use.
const wrapImports = `import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hookgate/hookgate"
	"github.com/hookgate/hookgate/signing"
)

var _, _, _, _ = errors.New, fmt.Sprint, signing.NewSecret, time.Now

`

// Every block of Go code in the README and in docs/ compiles. It is type-checked against the packages as they are built,
// which takes a second.
func TestReadmeAndDocsCompile(t *testing.T) {
	t.Parallel()
	fset := token.NewFileSet()
	files := map[string]*ast.File{}
	needed := map[string]bool{}
	for _, name := range ourDocs(t) {
		if name != "README.md" && !strings.HasPrefix(name, "docs/") {
			continue
		}
		for _, b := range goBlocks(readDoc(t, name)) {
			f, err := parseBlock(fset, name, b)
			if err != nil {
				t.Error(err)
				continue
			}
			files[fset.File(f.Pos()).Name()] = f
			for _, spec := range f.Imports {
				needed[strings.Trim(spec.Path.Value, `"`)] = true
			}
		}
	}
	if len(files) < 3 {
		t.Fatalf("found only %d blocks", len(files))
	}
	args := []string{"list", "-export", "-deps", "-f", "{{.ImportPath}}\t{{.Export}}"}
	for p := range needed {
		args = append(args, p)
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.Bytes())
	}
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		p, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[p] = file
	}
	compiled := importer.ForCompiler(fset, "gc", func(p string) (io.ReadCloser, error) {
		if exports[p] == "" {
			return nil, fmt.Errorf("%s is not built", p)
		}
		return os.Open(exports[p])
	})
	for name, f := range files {
		check := types.Config{Importer: compiled, Error: func(err error) { t.Errorf("%s: %v", name, err) }}
		_, _ = check.Check("doc", fset, []*ast.File{f}, nil) // Error has told
	}
}

func TestReadmeQuickstartIsTheExample(t *testing.T) {
	t.Parallel()
	body := func(src, name string) string {
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, "", src, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Name.Name == name {
				text := src[fset.Position(fn.Body.Lbrace).Offset+1 : fset.Position(fn.Body.Rbrace).Offset]
				text, _, _ = strings.Cut(text, "\t// Output:")
				return strings.TrimSpace(text)
			}
		}
		t.Fatalf("there is no func %s", name)
		return ""
	}
	here, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	blocks := goBlocks(readDoc(t, "README.md"))
	if len(blocks) == 0 {
		t.Fatal("the README has no code")
	}
	if readme, example := body(blocks[0].code, "main"), body(string(here), "Example"); readme != example {
		t.Errorf("the README's quickstart is\n%s\n\nand the example that is run is\n%s", readme, example)
	}
	for _, b := range blocks {
		if formatted, err := format.Source([]byte(b.code)); err != nil || string(formatted) != b.code {
			t.Errorf("README.md, line %d: the code is not formatted: %v", b.line, err)
		}
	}
}
