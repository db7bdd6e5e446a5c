package hookgate

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// The values are those of the test suite that AWS publishes for Signature Version 4.
func TestSigV4TestSuite(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, method, target string
		header               http.Header
		body, want           string
	}{
		{"get-vanilla", "GET", "/", nil, "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
		{"post-vanilla", "POST", "/", nil, "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"get-vanilla-query-order-key-case", "GET", "/?Param2=value2&Param1=value1", nil, "", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
		{"get-vanilla-empty-query-key", "GET", "/?Param1=value1", nil, "", "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb"},
		{"get-vanilla-utf8-query", "GET", "/?%E1%88%B4=bar", nil, "", "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04"},
		{"get-vanilla-query-unreserved", "GET", "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", nil, "", "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197"},
		{"get-unreserved", "GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", nil, "", "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f"},
		{"post-header-key-sort", "POST", "/", http.Header{"My-Header1": {"value1"}}, "", "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c"},
		{"post-header-value-case", "POST", "/", http.Header{"My-Header1": {"VALUE1"}}, "", "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d"},
		{"get-header-value-trim", "GET", "/", http.Header{"My-Header1": {" value1"}, "My-Header2": {" \"a   b   c\""}}, "", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"post-x-www-form-urlencoded", "POST", "/", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, "Param1=value1", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a"},
		{"post-x-www-form-urlencoded-parameters", "POST", "/", http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf8"}}, "Param1=value1", "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe"},
	} {
		at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
		header := http.Header{"X-Amz-Date": {at.Format(sigV4Time)}, "User-Agent": {"not signed"}}
		for name, values := range c.header {
			header[name] = values
		}
		s := sigV4{
			method: c.method, target: c.target, host: "example.amazonaws.com", header: header, body: []byte(c.body), at: at,
			region: "us-east-1", service: "service", keyID: "AKIDEXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
		}
		got, err := s.authorization()
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if !strings.HasSuffix(got, ", Signature="+c.want) || !strings.HasPrefix(got, "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=") {
			text, _, _ := s.canonical()
			t.Errorf("%s: got %s of\n%s", c.name, got, text)
		}
	}
}

// The paths of the suite are given as they are before any encoding; on our wire they are encoded, and signed as S3 has it
// they are the same.
func TestSigV4Paths(t *testing.T) {
	t.Parallel()
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	for target, want := range map[string]string{
		"/%E1%88%B4":        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
		"/example%20space/": "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
	} {
		s := sigV4{
			method: "GET", target: target, host: "example.amazonaws.com", header: http.Header{"X-Amz-Date": {at.Format(sigV4Time)}}, at: at,
			region: "us-east-1", service: "service", keyID: "AKIDEXAMPLE", secretKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", onceEncoded: true,
		}
		if got, err := s.authorization(); err != nil || !strings.HasSuffix(got, want) {
			t.Errorf("%s: %s, %v", target, got, err)
		}
		s.onceEncoded = false
		if text, _, _ := s.canonical(); !strings.Contains(text, "\n"+strings.ReplaceAll(target, "%", "%25")+"\n") {
			t.Errorf("%s is not encoded twice:\n%s", target, text)
		}
	}
}

// What goes over the wire is what was signed: a receiver that computes the signature of what it got finds the same.
func TestSigV4SignsWhatIsSent(t *testing.T) {
	t.Parallel()
	got := make(chan string, 1)
	for _, service := range []string{"lambda", "s3"} {
		url := serveHTTP(t, func(_ http.ResponseWriter, r *http.Request, body []byte) {
			at, err := time.Parse(sigV4Time, r.Header.Get("X-Amz-Date"))
			if err != nil {
				t.Error(err)
			}
			if r.Header.Get("X-Amz-Security-Token") != "session" || (service == "s3") != (r.Header.Get("X-Amz-Content-Sha256") == hexSHA256(body)) {
				t.Errorf("headers %v", r.Header)
			}
			_, list, _ := strings.Cut(r.Header.Get("Authorization"), "SignedHeaders=")
			list, _, _ = strings.Cut(list, ",")
			signed := http.Header{}
			for name := range strings.SplitSeq(list, ";") {
				if name != "host" {
					signed[name] = r.Header.Values(name)
				}
			}
			for _, name := range []string{"content-type", "webhook-signature", "x-amz-date", "x-own"} {
				if len(signed[name]) == 0 {
					t.Errorf("%s is not signed: %s", name, list)
				}
			}
			s := sigV4{
				method: r.Method, target: r.RequestURI, host: r.Host, header: signed, body: body, at: at,
				region: "eu-west-1", service: service, keyID: "AKID", secretKey: "canary-secret", onceEncoded: service == "s3",
			}
			want, err := s.authorization()
			if err != nil || r.Header.Get("Authorization") != want {
				t.Errorf("got %q, want %q, %v", r.Header.Get("Authorization"), want, err)
			}
			got <- string(body)
		})
		g := startGateway(t, Config{AllowPrivate: loopback})
		_, _, err := g.CreateEndpoint(t.Context(), Endpoint{
			URL: url + "/a%20b/c d?z=1&a=x+y&b", Subscriptions: []Subscription{{}}, Header: map[string]string{"X-Own": " a  b "},
			Auth: &Auth{Kind: "aws-sigv4", Params: map[string]string{
				"region": "eu-west-1", "service": service, "access_key_id": "AKID", "secret_access_key": "canary-secret", "session_token": "session",
			}},
		})
		if err != nil {
			t.Fatal(err)
		}
		mustPublish(t, g, Event{Payload: []byte("{}"), ContentType: "application/json"})
		if body := <-got; body != "{}" {
			t.Errorf("got %q", body)
		}
	}
}
