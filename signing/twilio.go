package signing

import (
	"crypto/sha1"
	"crypto/subtle"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// twilioProvider follows Twilio's request validators for Go and Node.
var twilioProvider = provider{
	Provider: Provider{
		Title:     "Twilio",
		Header:    "`X-Twilio-Signature`",
		Algorithm: "HMAC-SHA1, base64",
		Signs:     "the URL, then the fields of a form sorted by name, each name followed by its values; for other bodies the URL, whose query field `bodySHA256` holds the hash of the body",
		Secret:    "the auth token of the account",
		Type:      "form field `MessageStatus`, `SmsStatus`, `CallStatus` or `EventType`",
		ID:        "`I-Twilio-Idempotency-Token`",
		Source:    VendorCode,
		Covers:    CoversBody,
	},
	code: newTwilio,
}

// mandrillProvider: Mailchimp's page "Authenticating webhook requests" signs the way Twilio does.
var mandrillProvider = provider{
	Provider: Provider{
		Title:     "Mandrill (Mailchimp Transactional)",
		Header:    "`X-Mandrill-Signature`",
		Algorithm: "HMAC-SHA1, base64",
		Signs:     "the URL, then the fields of the form sorted by name, each name followed by its value",
		Secret:    "the key of the webhook, as text",
		Type:      "`event` of the first of `mandrill_events`",
		Source:    ThirdParty,
		Covers:    CoversBody,
	},
	code: newMandrill,
}

// urlForm verifies what Twilio and Mandrill sign: the URL and the fields of a form.
type urlForm struct {
	name, header string
	twilio       bool
	keys         macKeys
}

func newTwilio(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := newMACKeys(kindSHA1, secrets, 1, nil)
	if err != nil {
		return nil, setupError("twilio", err)
	}
	return &urlForm{name: "twilio", header: "X-Twilio-Signature", twilio: true, keys: keys}, nil
}

func newMandrill(_ Options, secrets []Secret) (Verifier, error) {
	keys, err := newMACKeys(kindSHA1, secrets, 8, nil)
	if err != nil {
		return nil, setupError("mandrill", err)
	}
	return &urlForm{name: "mandrill", header: "X-Mandrill-Signature", keys: keys}, nil
}

// Verify implements Verifier.
func (v *urlForm) Verify(r *Request) (Verdict, error) {
	text, err := headerOf(v.name, r, v.header)
	if err != nil {
		return Verdict{}, err
	}
	got, ok := decodeMAC(text, sha1.Size)
	if !ok {
		return Verdict{}, refuse(v.name, ErrMalformed, "header %s: its signature is cut off or not base64", v.header)
	}
	form, err := v.form(r)
	if err != nil {
		return Verdict{}, err
	}
	fields := []byte(joinForm(form))
	urls := []string{r.URL}
	if v.twilio {
		// Twilio signs some URLs with their port and some without, and its own libraries try both.
		urls = append(urls, otherPort(r.URL))
	}
	for _, u := range urls {
		if key := v.keys.match(got, []byte(u), fields); key >= 0 {
			return v.verdict(r, form, key)
		}
	}
	return Verdict{}, refuse(v.name, ErrMismatch, "header %s fits none of %s: the URL that the provider calls is another than the public URL set up here "+
		"(scheme, host, path and query count), the secret is another account's, or the body was changed on its way", v.header, count(len(v.keys), "key"))
}

// form gives the fields that are signed. It refuses a body that nothing covers.
func (v *urlForm) form(r *Request) (url.Values, error) {
	if !v.twilio {
		return formOf(v.name, r)
	}
	_, query, _ := strings.Cut(r.URL, "?")
	query, _, _ = strings.Cut(query, "#")
	// A damaged query does no harm: it is signed as it is.
	values, _ := url.ParseQuery(query)
	switch hashes := values["bodySHA256"]; {
	case len(hashes) > 1:
		return nil, stateError(v.name, "query field bodySHA256", repeated)
	case len(hashes) == 1:
		if subtle.ConstantTimeCompare([]byte(hashes[0]), []byte(bodyHash(r.Body))) == 0 {
			return nil, refuse(v.name, ErrMismatch, "query field bodySHA256 is not the hash of the body: the body was changed on its way, or a middleware read it first")
		}
		return nil, nil
	}
	if kind, _ := mediaType(r); kind == "application/x-www-form-urlencoded" {
		return formOf(v.name, r)
	}
	if len(r.Body) > 0 {
		return nil, refuse(v.name, ErrMissing, "the body is not a form, and the URL has no query field bodySHA256, so nothing protects the body")
	}
	return nil, nil
}

// joinForm puts names and values in a row: names sorted, the values of a name sorted and each once.
func joinForm(form url.Values) string {
	names := make([]string, 0, len(form))
	for name := range form {
		names = append(names, name)
	}
	slices.Sort(names)
	var b strings.Builder
	for _, name := range names {
		values := slices.Clone(form[name])
		slices.Sort(values)
		for _, value := range slices.Compact(values) {
			b.WriteString(name)
			b.WriteString(value)
		}
	}
	return b.String()
}

func (v *urlForm) verdict(r *Request, form url.Values, key int) (Verdict, error) {
	d := Verdict{Key: key, Covers: CoversBody}
	if !v.twilio {
		d.Type, _ = jsonText([]byte(form.Get("mandrill_events")), []string{"0", "event"})
		return d, nil
	}
	d.Type = firstField(form, "MessageStatus", "SmsStatus", "CallStatus", "EventType")
	d.OrderingKey = firstField(form, "MessageSid", "CallSid")
	var err error
	d.ID, err = optionalHeader(v.name, r, http.CanonicalHeaderKey("I-Twilio-Idempotency-Token"))
	if err != nil {
		return Verdict{}, err
	}
	return d, nil
}

// firstField gives the first of the fields that is there, and of a length that a name may have.
func firstField(form url.Values, names ...string) string {
	for _, name := range names {
		if text := form.Get(name); text != "" && len(text) <= maxText {
			return text
		}
	}
	return ""
}

// otherPort gives the URL without its port if it has one, or else with the port of its scheme.
func otherPort(address string) string {
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return address
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	// The last colon begins a port, unless it is inside of an IPv6 address or of a password.
	if colon := strings.LastIndexByte(host, ':'); colon > strings.LastIndexAny(host, "]@") {
		return scheme + "://" + host[:colon] + path
	}
	port := ":80"
	if strings.EqualFold(scheme, "https") {
		port = ":443"
	}
	return scheme + "://" + host + port + path
}
