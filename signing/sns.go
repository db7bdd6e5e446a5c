package signing

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// snsProvider follows aws-js-sns-message-validator and the page "Verifying the signatures of Amazon SNS messages".
var snsProvider = provider{
	Provider: Provider{
		Title: "AWS SNS",
		Settings: []Setting{
			{Name: "topic_arn", Required: true, Doc: "The ARNs of your topics, with commas between: SNS signs for every customer of AWS with the same key."},
			{Name: "signing_cert_url", Doc: "The only address of a certificate that is taken; empty takes any of SNS."},
		},
		Header:    "`Signature`, `SignatureVersion` and `SigningCertURL` in the body",
		Algorithm: "RSA PKCS #1 v1.5 with SHA-1 (version 1) or SHA-256 (version 2), base64",
		Signs:     "`Message`, `MessageId`, `Subject`, `Timestamp`, `TopicArn`, `Type`, and of confirmations `SubscribeURL` and `Token`",
		Secret:    "none, the certificate is fetched; or certificates in PEM that stand behind `SigningCertURL`",
		Type:      "`Type`",
		ID:        "`MessageId`",
		Handshake: "POST `SubscriptionConfirmation`: get its `SubscribeURL`",
		Source:    VendorCode,
		Covers:    CoversMetadata,
	},
	code: newSNS,
}

// The order in which the fields are signed.
var (
	snsNotification = []string{"Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"}
	snsConfirmation = []string{"Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"}
)

var (
	snsHost = regexp.MustCompile(`^sns\.[a-z0-9-]{3,32}\.amazonaws\.com(\.cn)?$`)
	snsPath = regexp.MustCompile(`^/[A-Za-z0-9._-]{1,120}\.pem$`)
)

type sns struct {
	topics  []string
	certURL string // empty: any of SNS
	pinned  []*rsa.PublicKey
	certs   *certificates // nil if pinned
}

func newSNS(o Options, secrets []Secret) (Verifier, error) {
	v := &sns{certURL: o.Settings["signing_cert_url"]}
	if v.certURL != "" {
		if err := checkSNSCertURL(v.certURL); err != nil {
			return nil, setupError("aws-sns", fmt.Errorf("the setting signing_cert_url %w", err))
		}
	}
	if list := o.Settings["topic_arn"]; list != "" {
		for arn := range strings.SplitSeq(list, ",") {
			arn = strings.TrimSpace(arn)
			if !strings.HasPrefix(arn, "arn:") {
				return nil, setupError("aws-sns", errors.New("the setting topic_arn has an entry that is not an ARN, arn:aws:sns:region:account:name"))
			}
			v.topics = append(v.topics, arn)
		}
	}
	var err error
	if len(secrets) > 0 {
		v.pinned, err = pinnedRSA(secrets)
	} else {
		v.certs, err = newCertificates(o.Client, checkSNSCertificate)
	}
	if err != nil {
		return nil, setupError("aws-sns", err)
	}
	return confirmsSNS(v, o.Client, v.topics), nil
}

// Verify implements Verifier.
func (v *sns) Verify(r *Request) (Verdict, error) {
	_, d, err := v.read(r)
	return d, err
}

// read verifies a message and gives its signed fields.
func (v *sns) read(r *Request) (map[string]string, Verdict, error) {
	fail := func(kind error, format string, args ...any) (map[string]string, Verdict, error) {
		return nil, Verdict{}, refuse("aws-sns", kind, format, args...)
	}
	body, ok := jsonFields(r.Body)
	if !ok {
		return fail(ErrMalformed, "the body is not a JSON object with each name once: is raw message delivery on? Such messages are not signed")
	}
	m := map[string]string{}
	for _, name := range []string{
		"Type", "Signature", "SignatureVersion", "SigningCertURL", "Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn",
	} {
		value, there := body[name]
		if !there || value[0] == 'n' {
			continue
		}
		var text string
		if json.Unmarshal(value, &text) != nil {
			return fail(ErrMalformed, "field %s of the JSON body is not a text", name)
		}
		m[name] = text
	}
	for _, name := range []string{"Type", "Signature", "SignatureVersion", "SigningCertURL", "TopicArn"} {
		if m[name] == "" {
			return fail(ErrMissing, "field %s of the JSON body is not there", name)
		}
	}
	fields := snsConfirmation
	switch m["Type"] {
	case "Notification":
		fields = snsNotification
	case "SubscriptionConfirmation", "UnsubscribeConfirmation":
	default:
		return fail(ErrMalformed, "field Type of the JSON body is none of the three that SNS sends")
	}
	header, err := optionalHeader("aws-sns", r, "X-Amz-Sns-Message-Type")
	if err != nil {
		return nil, Verdict{}, err
	}
	if header != "" && header != m["Type"] {
		return fail(ErrMalformed, "header X-Amz-Sns-Message-Type is not the Type of the body")
	}
	if !slices.Contains(v.topics, m["TopicArn"]) {
		return fail(ErrMismatch, "the message is of another topic than topic_arn names")
	}
	var b bytes.Buffer
	for _, name := range fields {
		text, there := m[name]
		if !there && name == "Subject" {
			continue
		}
		if !there {
			return fail(ErrMissing, "field %s of the JSON body is not there", name)
		}
		if name != "Message" && strings.Contains(text, "\n") {
			// A message with lines of its own could then stand for other fields.
			return fail(ErrMalformed, "field %s of the JSON body has a line break", name)
		}
		b.WriteString(name + "\n" + text + "\n")
	}
	signature, err := strictStd.DecodeString(m["Signature"])
	if err != nil || strings.ContainsAny(m["Signature"], "\r\n") {
		return fail(ErrMalformed, "field Signature of the JSON body is not base64")
	}
	var hash crypto.Hash
	var digest []byte
	switch m["SignatureVersion"] {
	case "1":
		sum := sha1.Sum(b.Bytes())
		hash, digest = crypto.SHA1, sum[:]
	case "2":
		sum := sha256.Sum256(b.Bytes())
		hash, digest = crypto.SHA256, sum[:]
	default:
		return fail(ErrMalformed, "field SignatureVersion of the JSON body is neither 1 nor 2")
	}
	keys, err := v.keys(r, m["SigningCertURL"])
	if err != nil {
		return nil, Verdict{}, err
	}
	for i, k := range keys {
		if rsa.VerifyPKCS1v15(k, hash, digest, signature) == nil {
			key := i
			if v.pinned == nil {
				key = -1
			}
			return m, Verdict{Type: m["Type"], ID: m["MessageId"], Subject: m["TopicArn"], Key: key, Covers: CoversMetadata}, nil
		}
	}
	return fail(ErrMismatch, "field Signature of the JSON body fits none of %s: the body was changed on its way, or the certificate that is set up is another",
		count(len(keys), "certificate"))
}

// keys gives the keys behind the address in a message.
func (v *sns) keys(r *Request, address string) ([]*rsa.PublicKey, error) {
	if err := checkSNSCertURL(address); err != nil {
		return nil, refuse("aws-sns", ErrMalformed, "field SigningCertURL of the JSON body %v", err)
	}
	if v.certURL != "" && address != v.certURL {
		return nil, refuse("aws-sns", ErrMismatch, "field SigningCertURL of the JSON body is another than signing_cert_url names")
	}
	if v.pinned != nil {
		return v.pinned, nil
	}
	k, err := v.certs.get(r, address)
	if err != nil {
		return nil, named("aws-sns", err)
	}
	return []*rsa.PublicKey{k}, nil
}

// isSNSURL reports whether an address is on a host of SNS, by https on the usual port.
func isSNSURL(address string) bool {
	u, err := url.Parse(address)
	return err == nil && u.Scheme == "https" && u.User == nil && u.Fragment == "" && snsHost.MatchString(u.Host)
}

func checkSNSCertURL(address string) error {
	u, err := url.Parse(address)
	if err != nil || !isSNSURL(address) || !snsPath.MatchString(u.EscapedPath()) || u.RawQuery != "" || u.ForceQuery {
		return errors.New("is not the https address of a certificate of SNS")
	}
	return nil
}

// checkSNSCertificate: it came from the right host by TLS, and must be valid now.
func checkSNSCertificate(chain []*x509.Certificate, now time.Time) error {
	if now.Before(chain[0].NotBefore) || now.After(chain[0].NotAfter) {
		return errors.New("holds a certificate that is not valid now")
	}
	return nil
}

// pinnedRSA reads secrets that are certificates or public keys in PEM, of RSA.
func pinnedRSA(secrets []Secret) ([]*rsa.PublicKey, error) {
	texts, err := plainSecretsPEM(secrets)
	if err != nil {
		return nil, err
	}
	keys := make([]*rsa.PublicKey, len(texts))
	for i, text := range texts {
		public, err := pemPublic(text)
		if err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		k, ok := public.(*rsa.PublicKey)
		if !ok {
			return nil, fmt.Errorf("secret %d is a key of another kind than RSA", i+1)
		}
		if err := checkRSA(k); err != nil {
			return nil, fmt.Errorf("secret %d %w", i+1, err)
		}
		keys[i] = k
	}
	return keys, nil
}

// plainSecretsPEM gives the texts of secrets in PEM, which end in a newline.
func plainSecretsPEM(secrets []Secret) ([]string, error) {
	trimmed := make([]Secret, len(secrets))
	for i, s := range secrets {
		trimmed[i] = NewSecret(strings.TrimSpace(s.Reveal()))
	}
	return plainSecrets(trimmed, 1)
}

// parseChain reads certificates in PEM, the first of which has an RSA key.
func parseChain(doc []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for len(chain) < 10 {
		var block *pem.Block
		if block, doc = pem.Decode(doc); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, errors.New("has a damaged certificate")
		}
		chain = append(chain, c)
	}
	if len(chain) == 0 {
		return nil, errors.New("has no certificate")
	}
	k, ok := chain[0].PublicKey.(*rsa.PublicKey)
	if !ok {
		return nil, errors.New("has a certificate with a key of another kind than RSA")
	}
	if err := checkRSA(k); err != nil {
		return nil, fmt.Errorf("has a certificate whose key %w", err)
	}
	return chain, nil
}
