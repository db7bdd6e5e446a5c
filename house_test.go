package hookgate_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The house rules that matter, with their reasons. They read the source of this module only; modules in folders below it
// have their own life.

const module = "github.com/hookgate/hookgate"

// importRules say who may not import what. A folder's rule holds for everything below it too, tests included; the folder
// "." is the root package alone.
var importRules = []struct {
	in     []string
	never  []string // import paths, and everything below them; "=" before one means that path alone
	unless []string // but these are fine
	reason string
}{
	{
		in: []string{"store"}, never: []string{module},
		unless: []string{module + "/store", module + "/internal"},
		reason: "imports point down: a store knows events and deliveries, not who signs, sends or retries them",
	},
	{
		in: []string{"retry"}, never: []string{module}, unless: []string{module + "/retry"},
		reason: "imports point down: a policy is a function of numbers",
	},
	{
		in: []string{"signing"}, never: []string{module}, unless: []string{module + "/signing"},
		reason: "imports point down: a signature is made of bytes and secrets, and people verify without a gateway",
	},
	{
		in: []string{"transform"}, never: []string{module}, unless: []string{module + "/transform"},
		reason: "imports point down: message in, message out",
	},
	{
		in: []string{"internal/journal"}, never: []string{module}, unless: []string{module + "/internal/journal"},
		reason: "the journal keeps frames of bytes, and is proven alone",
	},
	{
		in: []string{"internal"}, never: []string{"=" + module},
		reason: "what is internal serves the packages above and cannot know them",
	},
}

// doors are the only folders that may import an outside module.
var doors = map[string]struct{ door, reason string }{
	"go.etcd.io/bbolt":               {"store/bolt", "the engine below the default store can be replaced in one place"},
	"github.com/cenkalti/backoff/v4": {"retry", "its major versions come often; no type of it may reach our users"},
	"golang.org/x/time":              {"retry", "a limiter is part of: when may we try again?"},
	"github.com/google/uuid":         {".", "the gateway makes the IDs; everybody else only carries them"},
	"golang.org/x/sys":               {"internal", "calls to the system are wrapped once"},
	"code.dny.dev/ssrf":              {"internal/netguard", "one guard judges every address"},
}

// linked are the modules that a program gets with the root package, apart from the standard library.
var linked = []string{
	"github.com/cenkalti/backoff/v4",
	"github.com/google/uuid",
	"github.com/hookgate/hookgate",
	"go.etcd.io/bbolt",
	"golang.org/x/sys",
	"golang.org/x/time",
}

// sleepers are test files that call time.Sleep outside of a synctest bubble, and why. Every other test takes its time from
// testing/synctest: a test that sleeps is slow when it passes, and wrong on a busy machine.
var sleepers = map[string]string{
	"dispatcher_http_test.go":    "a slow receiver behind a real socket, which a bubble cannot hold",
	"secret_canary_test.go":      "a real receiver and a real folder; it looks again until what it waits for is there",
	"secrets_rewrap_test.go":     "a real folder that is opened again, and publishing that leaves the machine to others",
	"store/bolt/failure_test.go": "the size of a real file, which the store looks at again every few milliseconds",
}

// longFiles are over 800 lines, and why.
var longFiles = map[string]string{}

// dialers may connect by themselves: they are the guard.
var dialers = []string{"guard.go", "internal/netguard/"}

type sourceFile struct {
	path   string // with slashes, from the top of the module
	dir    string
	test   bool
	lines  int
	syntax *ast.File
}

type sourceTree struct {
	files []*sourceFile
	fset  *token.FileSet
}

func (s *sourceTree) position(n ast.Node) string { return s.fset.Position(n.Pos()).String() }

// readSource parses every Go file of this module, for every system.
var readSource = sync.OnceValues(func() (*sourceTree, error) {
	tree := &sourceTree{fset: token.NewFileSet()}
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		base := path.Base(name)
		if d.IsDir() {
			if name == "." {
				return nil
			}
			if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil || base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(tree.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		tree.files = append(tree.files, &sourceFile{
			path: name, dir: path.Dir(name), test: strings.HasSuffix(name, "_test.go"),
			lines: bytes.Count(src, []byte("\n")), syntax: f,
		})
		return nil
	})
	return tree, err
})

func source(t *testing.T) *sourceTree {
	t.Helper()
	tree, err := readSource()
	if err != nil {
		t.Fatal(err)
	}
	if len(tree.files) < 10 {
		t.Fatalf("found only %d Go files: the house rules must run at the top of the module", len(tree.files))
	}
	return tree
}

// below reports whether a path is top or lies under it.
func below(p, top string) bool { return p == top || strings.HasPrefix(p, top+"/") }

// inFolder reports whether a folder belongs to top; "." is the root package alone.
func inFolder(dir, top string) bool {
	if top == "." {
		return dir == "."
	}
	return below(dir, top)
}

func TestHouseImportsPointDown(t *testing.T) {
	t.Parallel()
	tree := source(t)
	for _, f := range tree.files {
		for _, spec := range f.syntax.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if imported == "C" {
				t.Errorf("%s: no cgo: the library builds everywhere with the Go toolchain alone", tree.position(spec))
			}
			for _, rule := range importRules {
				if !slices.ContainsFunc(rule.in, func(top string) bool { return inFolder(f.dir, top) }) {
					continue
				}
				bad := slices.ContainsFunc(rule.never, func(p string) bool {
					alone, exact := strings.CutPrefix(p, "=")
					return exact && imported == alone || !exact && below(imported, p)
				})
				fine := slices.ContainsFunc(rule.unless, func(p string) bool { return below(imported, p) })
				if bad && !fine {
					t.Errorf("%s: must not import %s: %s", tree.position(spec), imported, rule.reason)
				}
			}
			for outside, d := range doors {
				if below(imported, outside) && !inFolder(f.dir, d.door) {
					t.Errorf("%s: only %s may import %s: %s", tree.position(spec), d.door, outside, d.reason)
				}
			}
		}
	}
}

func TestHouseLinksFiveModulesAndNoMore(t *testing.T) {
	t.Parallel()
	modules := func(t *testing.T, args ...string) []string {
		t.Helper()
		args = append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}{{end}}"}, args...)
		cmd := exec.CommandContext(t.Context(), "go", args...)
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, errs.Bytes())
		}
		found := strings.Fields(string(out))
		slices.Sort(found)
		return slices.Compact(found)
	}
	t.Run("root package", func(t *testing.T) {
		t.Parallel()
		if got := modules(t, "."); !slices.Equal(got, linked) {
			t.Errorf("an import of the root package links\n\t%s\nwant\n\t%s\nA new module needs an ADR.",
				strings.Join(got, "\n\t"), strings.Join(linked, "\n\t"))
		}
	})
	t.Run("all packages with their tests", func(t *testing.T) {
		t.Parallel()
		for _, m := range modules(t, "-test", "./...") {
			if !slices.Contains(linked, m) {
				t.Errorf("%s: the packages of this module and their tests get by on the standard library and %v", m, linked)
			}
		}
	})
}

func TestHouseEveryPackageHasADoc(t *testing.T) {
	t.Parallel()
	names, docs := map[string]string{}, map[string][]string{}
	for _, f := range source(t).files {
		if f.test {
			continue
		}
		names[f.dir] = f.syntax.Name.Name
		if text := strings.TrimSpace(f.syntax.Doc.Text()); text != "" {
			docs[f.dir] = append(docs[f.dir], text)
		}
	}
	for dir, name := range names {
		switch found := docs[dir]; {
		case len(found) == 0:
			t.Errorf("%s: package %s has no doc: somebody opens it and does not know why it is there", dir, name)
		case len(found) > 1:
			t.Errorf("%s: package %s has its doc in %d files; the pages show them run together", dir, name, len(found))
		case name != "main" && !strings.HasPrefix(found[0], "Package "+name+" "):
			t.Errorf("%s: the doc must begin with %q", dir, "Package "+name)
		}
	}
}

func TestHouseEveryExportedNameIsExplained(t *testing.T) {
	t.Parallel()
	tree := source(t)
	for _, f := range tree.files {
		if f.test || f.syntax.Name.Name == "main" {
			continue
		}
		for _, decl := range f.syntax.Decls {
			for _, name := range unexplained(tree.fset, decl) {
				t.Errorf("%s: %s has no doc: write for the person who has only the documentation page", tree.position(name), name.Name)
			}
		}
	}
}

// unexplained lists the exported names of a declaration that nothing is said about. A comment may speak for several
// constants, variables or aliases: for a whole group, or for lines that follow each other without a gap.
func unexplained(fset *token.FileSet, decl ast.Decl) (names []*ast.Ident) {
	d, ok := decl.(*ast.GenDecl)
	if !ok {
		if f := decl.(*ast.FuncDecl); f.Name.IsExported() && f.Doc == nil && (f.Recv == nil || receiver(f).IsExported()) {
			names = append(names, f.Name)
		}
		return names
	}
	line := func(p token.Pos) int { return fset.Position(p).Line }
	above, aboveEnds := false, 0 // whether the line above is explained, and which it is
	for _, spec := range d.Specs {
		var found []*ast.Ident
		var own, shared bool // explained by a comment of its own, may share one
		switch s := spec.(type) {
		case *ast.TypeSpec:
			found, shared = []*ast.Ident{s.Name}, s.Assign.IsValid()
			own = s.Doc != nil || s.Comment != nil || d.Doc != nil && !d.Lparen.IsValid()
		case *ast.ValueSpec:
			found, shared = s.Names, true
			own = s.Doc != nil || s.Comment != nil || d.Doc != nil
		}
		own = own || shared && above && line(spec.Pos()) == aboveEnds+1
		for _, n := range found {
			if n.IsExported() && !own {
				names = append(names, n)
			}
		}
		above, aboveEnds = own && shared, line(spec.End())
	}
	return names
}

// receiver is the name of the type that a method belongs to.
func receiver(d *ast.FuncDecl) *ast.Ident {
	for e := d.Recv.List[0].Type; ; {
		switch x := e.(type) {
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		case *ast.IndexExpr:
			e = x.X
		case *ast.IndexListExpr:
			e = x.X
		case *ast.Ident:
			return x
		default:
			panic(fmt.Sprintf("a receiver of type %T", e))
		}
	}
}

// uses calls found for every x.name in the file where x is the package that was imported from importPath.
func uses(f *ast.File, importPath string, found func(sel *ast.SelectorExpr)) {
	local := ""
	for _, spec := range f.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil && p == importPath {
			local = path.Base(importPath)
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	if local == "" {
		return
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				found(sel)
			}
		}
		return true
	})
}

func TestHouseTestsDoNotSleep(t *testing.T) {
	t.Parallel()
	tree := source(t)
	known := map[string]bool{}
	for _, f := range tree.files {
		known[f.path] = true
		bubble := slices.ContainsFunc(f.syntax.Imports, func(s *ast.ImportSpec) bool { return s.Path.Value == `"testing/synctest"` })
		if !f.test || bubble || sleepers[f.path] != "" {
			continue
		}
		uses(f.syntax, "time", func(sel *ast.SelectorExpr) {
			if sel.Sel.Name == "Sleep" {
				t.Errorf("%s: a sleeping test is slow when it passes, and wrong on a busy machine: use testing/synctest, or wait for what "+
					"you mean; a reason that is better than both goes into sleepers", tree.position(sel))
			}
		})
	}
	for name := range sleepers {
		if !known[name] {
			t.Errorf("sleepers names %s, which is gone", name)
		}
	}
}

func TestHouseFilesAreAboutOneThing(t *testing.T) {
	t.Parallel()
	for _, f := range source(t).files {
		if f.lines > 800 && longFiles[f.path] == "" {
			t.Errorf("%s has %d lines: past 500 look for a second subject; past 800 tell the reader why, in longFiles", f.path, f.lines)
		}
	}
}

// Every outbound connection passes the address guard; a second way out would make it worthless.
func TestHouseOnlyTheGuardDials(t *testing.T) {
	t.Parallel()
	forbidden := map[string][]string{
		"net":        {"Dial", "DialTimeout", "DialTCP", "DialUDP", "DialIP", "DialUnix", "Dialer"},
		"net/http":   {"DefaultTransport", "DefaultClient", "Get", "Head", "Post", "PostForm"},
		"net/smtp":   {"Dial", "SendMail"},
		"crypto/tls": {"Dial", "DialWithDialer", "Dialer"},
	}
	tree := source(t)
	for _, f := range tree.files {
		guard := slices.ContainsFunc(dialers, func(p string) bool { return strings.HasPrefix(f.path, p) })
		if f.test || guard || below(f.dir, "examples") || below(f.dir, "e2e") {
			continue
		}
		for importPath, names := range forbidden {
			uses(f.syntax, importPath, func(sel *ast.SelectorExpr) {
				if slices.Contains(names, sel.Sel.Name) {
					t.Errorf("%s: %s.%s connects past the address guard: use the gateway's", tree.position(sel), path.Base(importPath), sel.Sel.Name)
				}
			})
		}
		// Without a dialer of the gateway's it connects to anything.
		made := made(f.syntax)
		uses(f.syntax, "net/http", func(sel *ast.SelectorExpr) {
			if made[sel] && (sel.Sel.Name == "Client" || sel.Sel.Name == "Transport") {
				t.Errorf("%s: an http.%s of your own can connect past the address guard: take Gateway.HTTPClient", tree.position(sel), sel.Sel.Name)
			}
		})
	}
}

// made are the types p.T of a file that it makes values of, with p.T{...} or new(p.T).
func made(f *ast.File) map[*ast.SelectorExpr]bool {
	types := map[*ast.SelectorExpr]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		var of ast.Expr
		switch x := n.(type) {
		case *ast.CompositeLit:
			of = x.Type
		case *ast.CallExpr:
			if fun, ok := x.Fun.(*ast.Ident); ok && fun.Name == "new" && len(x.Args) == 1 {
				of = x.Args[0]
			}
		}
		if sel, ok := of.(*ast.SelectorExpr); ok {
			types[sel] = true
		}
		return true
	})
	return types
}
