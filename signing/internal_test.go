package signing

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestSignaturesAreComparedInConstantTime reads the source: what a comparison gives away byte by byte is enough to forge a
// signature.
func TestSignaturesAreComparedInConstantTime(t *testing.T) {
	t.Parallel()
	set := token.NewFileSet()
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	delicate := regexp.MustCompile(`(?i)(mac|sum|digest|got|token|candidate|signature|public|private|secret|inner|outer)$`)
	forbidden := map[string]bool{"bytes.Equal": true, "bytes.Compare": true, "bytes.HasPrefix": true, "reflect.DeepEqual": true, "slices.Equal": true}
	constantTime := 0
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(set, file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(tree, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok {
					if pkg, ok := sel.X.(*ast.Ident); ok {
						name := pkg.Name + "." + sel.Sel.Name
						if forbidden[name] {
							t.Errorf("%s: %s is not constant in time; use subtle.ConstantTimeCompare", set.Position(n.Pos()), name)
						}
						if name == "subtle.ConstantTimeCompare" {
							constantTime++
						}
					}
				}
			case *ast.BinaryExpr:
				if n.Op != token.EQL && n.Op != token.NEQ {
					return true
				}
				for _, side := range []ast.Expr{n.X, n.Y} {
					other := n.X
					if side == n.X {
						other = n.Y
					}
					if id, ok := other.(*ast.Ident); ok && id.Name == "nil" {
						continue // whether there is one
					}
					if delicate.MatchString(lastName(side)) {
						t.Errorf("%s: %s is compared with %s; use subtle.ConstantTimeCompare", set.Position(n.Pos()), lastName(side), n.Op)
					}
				}
			}
			return true
		})
	}
	if constantTime == 0 {
		t.Error("nothing is compared with subtle.ConstantTimeCompare: this test looks in the wrong place")
	}
}

// lastName names the value of an expression; empty for enumerations, which are no secrets.
func lastName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		if ast.IsExported(e.Name) || strings.HasPrefix(e.Name, "part") {
			return ""
		}
		return e.Name
	case *ast.SelectorExpr:
		if ast.IsExported(e.Sel.Name) {
			return ""
		}
		return e.Sel.Name
	case *ast.SliceExpr:
		return lastName(e.X)
	case *ast.IndexExpr:
		return lastName(e.X)
	case *ast.ParenExpr:
		return lastName(e.X)
	case *ast.CallExpr: // string(mac)
		if id, ok := e.Fun.(*ast.Ident); ok && id.Name != "len" && len(e.Args) == 1 {
			return lastName(e.Args[0])
		}
	}
	return ""
}

func TestWeakPublicKeysAreRefused(t *testing.T) {
	t.Parallel()
	// The points whose order divides eight, as y with the sign of x; and three that are no canonical encoding.
	for _, text := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0100000000000000000000000000000000000000000000000000000000000080",
	} {
		raw, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := checkPublicKey(raw); err == nil {
			t.Errorf("%s is taken", text)
		}
		// Why: a signature that needs no private key verifies for one message in eight at least.
		forged := append([]byte{1}, make([]byte, 63)...)
		worked := false
		for i := range 200 {
			worked = worked || ed25519.Verify(raw, []byte{byte(i)}, forged)
		}
		if !worked {
			t.Errorf("%s: the forgery that this test is about does not work; is the point right?", text)
		}
	}
	for i := range 100 {
		seed := bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize)
		public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
		if err := checkPublicKey(public); err != nil {
			t.Errorf("a good key is refused: %v", err)
		}
	}
	refused := 0
	for i := range 100 { // half of all y have no point
		raw := bytes.Repeat([]byte{byte(i), byte(i * 7)}, 16)
		if checkPublicKey(raw) != nil {
			refused++
		}
	}
	if refused < 25 || refused > 75 {
		t.Errorf("of 100 random strings %d are no points, about half must be", refused)
	}
}

func TestJSONTextFindsValues(t *testing.T) {
	t.Parallel()
	doc := ` { "a" : "x" , "b":{"c":[1, {"d":"deep"},[2,"]}"], "last" ] }, "n": -1.5e3,"t":true,"nul":null,
		"esc\u0061pe":"q\"\u00e9\\", "a":"second", "empty":"", "":"no name", "u":"Zoë" } trailing`
	for path, want := range map[string]string{
		"a": "x", "b/c/0": "1", "b/c/1/d": "deep", "b/c/2/1": "]}", "b/c/3": "last", "n": "-1.5e3", "t": "true",
		"escape": "q\"é\\", "empty": "", "": "no name", "u": "Zoë",
	} {
		got, ok := jsonText([]byte(doc), strings.Split(path, "/"))
		if !ok || got != want {
			t.Errorf("%s: got %q, %v, want %q", path, got, ok, want)
		}
	}
	for _, path := range []string{"nul", "b", "b/c", "missing", "a/x", "b/c/4", "b/c/x", "b/c/-1", "b/c/99999999999999999999", "n/0", "trailing"} {
		if got, ok := jsonText([]byte(doc), strings.Split(path, "/")); ok {
			t.Errorf("%s: got %q, want nothing", path, got)
		}
	}
	for _, doc := range []string{
		"", " ", "{", "[", `{"a"`, `{"a":`, `{"a":}`, `{"a":"`, `{"a":"\`, `{"a":"\"`, `{a:1}`, `"a"`, "a", `{"b":1 "a":2}`, `{"b":{,"a":1}`,
		`{"a":"line` + "\n" + `break"}`, `{"a":"` + "\xff" + `"}`, `{"a":truthy}`, `{"a":01}`, strings.Repeat(`{"a":`, 100_000), strings.Repeat("[", 100_000),
		`{"a":"` + strings.Repeat("x", maxText) + `"}`,
	} {
		if got, ok := jsonText([]byte(doc), []string{"a"}); ok {
			t.Errorf("%.40q: got %q, want nothing", doc, got)
		}
	}
}

func TestJSONTextOfEveryElement(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]string{
		`{"a":["x"]}`: "x", `{"a":[ "x" , "x" ]} trailing`: "x", `{"a":["x","\u0078"]}`: "x", `{"a":[1,"1"]}`: "1",
		`{"a":["x","y"]}`: "", `{"a":[]}`: "", `{"a":["x"`: "", `{"a":["x",]}`: "", `{"a":["x" "x"]}`: "", `{"a":["x",null]}`: "",
		`{"a":["x",{}]}`: "", `{"a":["x"}`: "", `{"a":{"*":"x"}}`: "x", `{"a":"x"}`: "", `{"a":["x",`: "",
	} {
		if got, ok := jsonText([]byte(doc), []string{"a", "*"}); got != want || ok != (want != "") {
			t.Errorf("%s: got %q, %v, want %q", doc, got, ok, want)
		}
	}
	doc := `[{"b":[{"c":"x"},{"c":"x"}]},{"b":[{"c":"x"}]}]`
	if got, ok := jsonText([]byte(doc), []string{"*", "b", "*", "c"}); got != "x" || !ok {
		t.Errorf("arrays in arrays: got %q, %v", got, ok)
	}
	deep := strings.Repeat(`[`, 200_000) // no path leads deeper than it is long
	if got, ok := jsonText([]byte(deep), []string{"*", "*", "*"}); ok {
		t.Errorf("brackets alone: got %q", got)
	}
}

// FuzzJSONText compares with encoding/json wherever the document is valid and has no name twice.
func FuzzJSONText(f *testing.F) {
	f.Add([]byte(`{"a":{"b":"c"},"type":"x"}`), "a/b")
	f.Add([]byte(`{"a":["\u0041",2,{"b":false}]}`), "a/2/b")
	f.Add([]byte(`{"\u0061":1e5}`), "a")
	f.Add([]byte(`[[],{}, "\\\""]`), "2")
	f.Fuzz(func(t *testing.T, doc []byte, path string) {
		names := strings.Split(path, "/")
		got, ok := jsonText(doc, names)
		if !ok && got != "" {
			t.Errorf("text %q without ok", got)
		}
		var at any
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		if !json.Valid(doc) || dec.Decode(&at) != nil || bytes.Contains(doc, []byte(`\ud`)) || bytes.Contains(doc, []byte(`\uD`)) || !validNames(doc) {
			return
		}
		for _, name := range names {
			switch v := at.(type) {
			case map[string]any:
				at = v[name]
			case []any:
				if name == "*" {
					return // TestJSONTextOfEveryElement
				}
				at = nil
				if i := index(name); i >= 0 && i < len(v) {
					at = v[i]
				}
			default:
				at = nil
			}
		}
		want := ""
		switch v := at.(type) {
		case string:
			want = v
		case json.Number:
			want = v.String()
		case bool:
			want = map[bool]string{true: "true", false: "false"}[v]
		default:
			if ok {
				t.Errorf("%q: found %q in %q, where there is %v", path, got, doc, at)
			}
			return
		}
		if len(want) > maxText/6 || strings.ContainsRune(want, '\uFFFD') {
			return
		}
		if got != want {
			t.Errorf("%q in %q: got %q, want %q", path, doc, got, want)
		}
	})
}

func index(name string) int {
	n := 0
	if name == "" || len(name) > 5 || strings.Trim(name, "0123456789") != "" {
		return -1
	}
	for _, c := range name {
		n = n*10 + int(c-'0')
	}
	if n > 65535 {
		return -1
	}
	return n
}

// validNames reports whether no object has a name twice, of which encoding/json takes the last, and all is UTF-8.
func validNames(doc []byte) bool {
	if bytes.Contains(doc, []byte{0xff}) || strings.ToValidUTF8(string(doc), "") != string(doc) {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(doc))
	var open []map[string]bool // nil for an array
	var isName []bool
	for {
		tok, err := dec.Token()
		if err != nil {
			return true
		}
		top := len(open) - 1
		if d, ok := tok.(json.Delim); ok && (d == '}' || d == ']') {
			open, isName = open[:top], isName[:top]
			continue
		}
		if top >= 0 && open[top] != nil {
			if isName[top] {
				name, _ := tok.(string)
				if open[top][name] {
					return false
				}
				open[top][name] = true
				isName[top] = false
				continue
			}
			isName[top] = true
		}
		switch tok {
		case json.Delim('{'):
			open, isName = append(open, map[string]bool{}), append(isName, true)
		case json.Delim('['):
			open, isName = append(open, nil), append(isName, false)
		}
	}
}
