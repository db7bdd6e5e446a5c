package hookgate_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// Documents rot in silence unless something fails when they do. What can be checked about them is checked here: links lead
// somewhere, the map has every directory, the list of goroutines is complete, and tests that are named exist. Whether their
// Go code compiles is checked in readme_test.go.

// ourDocs lists the Markdown files of the project.
func ourDocs(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		switch {
		case d.IsDir() && (base == "testdata" || base != "." && strings.HasPrefix(base, ".")):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(base, ".md"):
			names = append(names, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 10 {
		t.Fatalf("found only %q", names)
	}
	return names
}

func readDoc(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// fences matches blocks of code, which hold no links.
var (
	fences   = regexp.MustCompile("(?ms)^```.*?^```$")
	links    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	mentions = regexp.MustCompile("`([a-zA-Z0-9_./-]+\\.md|docs/adr|\\.ci/[a-z]+|LICENSE)`")
	headings = regexp.MustCompile(`(?m)^#+ +(.+)$`)
)

func TestDocsLinksLeadSomewhere(t *testing.T) {
	t.Parallel()
	for _, name := range ourDocs(t) {
		text := fences.ReplaceAllString(readDoc(t, name), "")
		for _, m := range links.FindAllStringSubmatch(text, -1) {
			u, err := url.Parse(m[1])
			if err != nil {
				t.Errorf("%s: %s: %v", name, m[1], err)
				continue
			}
			if u.IsAbs() {
				continue
			}
			target := name
			if u.Path != "" {
				target = path.Join(path.Dir(name), u.Path)
			}
			info, err := os.Stat(target)
			if err != nil {
				t.Errorf("%s: the link to %s leads nowhere", name, m[1])
				continue
			}
			if u.Fragment != "" && !info.IsDir() && !slices.Contains(anchors(readDoc(t, target)), u.Fragment) {
				t.Errorf("%s: %s has no heading #%s", name, target, u.Fragment)
			}
		}
		for _, m := range mentions.FindAllStringSubmatch(text, -1) {
			_, beside := os.Stat(path.Join(path.Dir(name), m[1]))
			if _, err := os.Stat(m[1]); err != nil && beside != nil {
				t.Errorf("%s: there is no %s", name, m[1])
			}
		}
	}
}

// anchors are the names under which a document's headings can be linked.
func anchors(text string) (names []string) {
	for _, m := range headings.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
		var b strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				b.WriteByte('-')
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				b.WriteRune(r)
			}
		}
		names = append(names, b.String())
	}
	return names
}

// section gives the part of a document below a heading.
func section(t *testing.T, name, heading string) string {
	t.Helper()
	_, rest, ok := strings.Cut(readDoc(t, name), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no section %q", name, heading)
	}
	part, _, _ := strings.Cut(rest, "\n## ")
	return part
}

// The map has a line for each directory with files that git keeps, and none for what is not there.
func TestDocsMapMatchesTheDirectories(t *testing.T) {
	t.Parallel()
	const file = "docs/architecture.md"
	var drawn []string
	block := fences.FindString(section(t, file, "The map"))
	for line := range strings.Lines(block) {
		if words := strings.Fields(line); len(words) > 1 && strings.HasSuffix(words[0], "/") {
			drawn = append(drawn, strings.TrimSuffix(words[0], "/"))
		}
	}
	if !slices.IsSorted(drawn) {
		t.Errorf("%s: the lines of the map are not in order", file)
	}
	var there []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return err
		}
		name = filepath.ToSlash(name)
		switch base := d.Name(); {
		case name == ".":
			return nil
		case base == "testdata" || base != ".ci" && strings.HasPrefix(base, "."):
			return fs.SkipDir
		case name == "bin" || name == "hooks" || name == "out": // in .gitignore
			return fs.SkipDir
		}
		there = append(there, name)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	there = append(there, "testdata")
	for _, dir := range there {
		if !slices.Contains(drawn, dir) {
			t.Errorf("%s: the map has no line for %s/: somebody opens it and does not know what lives there", file, dir)
		}
	}
	for _, dir := range drawn {
		if !slices.Contains(there, dir) {
			t.Errorf("%s: the map has %s/, which is not there", file, dir)
		}
	}
}

// The list of goroutines names each file that starts one.
func TestDocsNameEveryGoroutine(t *testing.T) {
	t.Parallel()
	const file = "docs/architecture.md"
	list := section(t, file, "Goroutines")
	for _, f := range source(t).files {
		if f.test || below(f.dir, "examples") || f.dir == "store/storetest" {
			continue
		}
		starts := false
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				starts = true
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				starts = starts || ok && (sel.Sel.Name == "AfterFunc" || sel.Sel.Name == "Go")
			}
			return !starts
		})
		if starts && !strings.Contains(list, "`"+f.path+"`") {
			t.Errorf("%s: %s starts a goroutine or a timer that the list does not name", file, f.path)
		}
	}
	for _, m := range regexp.MustCompile("`([a-z0-9_/]+\\.go)`").FindAllStringSubmatch(list, -1) {
		if _, err := os.Stat(m[1]); err != nil {
			t.Errorf("%s: the list names %s, which is not there", file, m[1])
		}
	}
}

// namedTest matches the name of a test, and of a case of storetest below one.
var namedTest = regexp.MustCompile("`((?:Test|Fuzz|Example)[A-Za-z0-9_]+)((?:/[A-Za-z0-9]+)*)`")

// A promise that names its test names one that exists.
func TestDocsNameTestsThatExist(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	cases := map[string]bool{}
	for _, f := range source(t).files {
		for _, decl := range f.syntax.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && f.test {
				known[fn.Name.Name] = true
			}
		}
		if f.dir == "store/storetest" {
			ast.Inspect(f.syntax, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					cases[strings.Trim(lit.Value, `"`)] = true
				}
				return true
			})
		}
	}
	for _, name := range ourDocs(t) {
		if !strings.HasPrefix(name, "docs/") {
			continue // CONTRIBUTING has names that are only examples
		}
		for _, m := range namedTest.FindAllStringSubmatch(readDoc(t, name), -1) {
			if !known[m[1]] {
				t.Errorf("%s names %s, which is not there", name, m[1])
			}
			for _, c := range strings.Split(strings.Trim(m[2], "/"), "/") {
				if c != "" && !cases[c] {
					t.Errorf("%s names %s%s, and storetest has no %s", name, m[1], m[2], c)
				}
			}
		}
	}
}

// Each promise of the guarantees names a test or the measure that shows it.
func TestDocsShowEveryPromise(t *testing.T) {
	t.Parallel()
	text := readDoc(t, "docs/guarantees.md")
	for n := 1; n <= 16; n++ {
		_, rest, ok := strings.Cut(text, fmt.Sprintf("\n## P%d: ", n))
		if !ok {
			t.Errorf("docs/guarantees.md has no section for P%d", n)
			continue
		}
		part, _, _ := strings.Cut(rest, "\n## ")
		if !namedTest.MatchString(part) {
			t.Errorf("docs/guarantees.md: P%d names no test", n)
		}
		if !strings.Contains(part, "**Limits.**") {
			t.Errorf("docs/guarantees.md: P%d says nothing about its limits", n)
		}
	}
}

// goBlocks are the blocks of Go code in a document, with the line that each begins at.
func goBlocks(text string) (blocks []goBlock) {
	line, in := 0, false
	var b strings.Builder
	var at int
	for l := range strings.Lines(text) {
		line++
		switch {
		case !in && strings.TrimSpace(l) == "```go":
			in, at = true, line+1
			b.Reset()
		case in && strings.TrimSpace(l) == "```":
			in = false
			blocks = append(blocks, goBlock{at, b.String()})
		case in:
			b.WriteString(l)
		}
	}
	return blocks
}

type goBlock struct {
	line int
	code string
}

// parseBlock parses a block. A block that is no whole file is the inside of a function that has ctx, gw and receipt.
func parseBlock(fset *token.FileSet, name string, b goBlock) (*ast.File, error) {
	code := b.code
	if !strings.HasPrefix(code, "package ") {
		code = "package doc\n" + wrapImports + "func _(ctx context.Context, gw *hookgate.Gateway, receipt hookgate.Receipt) error {\n" + code + "\nreturn nil\n}\n"
	}
	return parser.ParseFile(fset, fmt.Sprintf("%s block at line %d", name, b.line), code, 0)
}
