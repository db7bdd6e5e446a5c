package signing

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// confirmsSNS answers the SubscriptionConfirmation with which AWS SNS asks whether a URL wants the messages of a topic, by
// calling its SubscribeURL. v proves that AWS sent it. Anybody with an account there can have it sent, so it is confirmed
// for these topics only: without one every confirmation is refused.
//
// SubscribeURL is signed, and looked at all the same: https, the host of SNS in the topic's region, no redirects, and
// nothing but the confirmation of this topic. The client should be one that connects to public addresses only.
func confirmsSNS(v Verifier, client *http.Client, topics []string) Verifier {
	s := &snsConfirmer{Verifier: v, topics: topics}
	if client != nil {
		c := *client
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		c.Jar = nil
		s.client = &c
	}
	return s
}

type snsConfirmer struct {
	Verifier
	client *http.Client
	topics []string
	one    sync.Mutex // a confirmation at a time: each makes a request
}

const (
	snsTimeout = 8 * time.Second // SNS waits 15
	snsAnswer  = 64 << 10        // bytes of an answer that are read
)

// HandshakeMethods gives POST.
func (s *snsConfirmer) HandshakeMethods() []string { return []string{http.MethodPost} }

// Tolerance is that of the verifier.
func (s *snsConfirmer) Tolerance() time.Duration {
	if t, ok := s.Verifier.(interface{ Tolerance() time.Duration }); ok {
		return t.Tolerance()
	}
	return 0
}

// Handshake confirms a subscription. The type in the body decides: it is signed, that in the header is not.
func (s *snsConfirmer) Handshake(r *Request) (*Reply, error) {
	if kind, _ := jsonText(r.Body, []string{"Type"}); r.Method != http.MethodPost || kind != "SubscriptionConfirmation" {
		return nil, nil
	}
	if _, err := s.Verify(r); err != nil {
		return nil, err
	}
	topic, _ := jsonText(r.Body, []string{"TopicArn"})
	switch {
	case len(s.topics) == 0:
		return nil, snsRefused(ErrMissing, "no topic is set up, and anybody can have a topic: set topic_arn to the one that may send here")
	case !slices.Contains(s.topics, topic):
		return nil, snsRefused(ErrMismatch, "field TopicArn is a topic that is not among those in topic_arn")
	case s.client == nil:
		return nil, snsRefused(ErrMissing, "a subscription is confirmed by calling SNS, and there is no client: set Options.Client")
	}
	address, _ := jsonText(r.Body, []string{"SubscribeURL"})
	u, err := snsAddress(address, topic)
	if err != nil {
		return nil, err
	}
	if !s.one.TryLock() {
		return nil, snsRefused(ErrUnavailable, "another confirmation is on its way")
	}
	defer s.one.Unlock()
	if err := s.call(r.context(), u); err != nil {
		return nil, err
	}
	return (*Reply)(nil).clone(), nil
}

// call makes the request that confirms.
func (s *snsConfirmer) call(ctx context.Context, u *url.URL) error {
	ctx, cancel := context.WithTimeout(ctx, snsTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return snsRefused(ErrMalformed, "field SubscribeURL cannot be called")
	}
	resp, err := s.client.Do(req)
	if err != nil {
		// The error of the client shows the URL, whose token confirms.
		return snsRefused(ErrUnavailable, "SNS at %s could not be reached to confirm the subscription; it asks again", u.Host)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, snsAnswer)) // so that the connection can be used again
	if resp.StatusCode != http.StatusOK {
		return snsRefused(ErrUnavailable, "SNS answered %d when the subscription was confirmed: its token may be too old, then subscribe again", resp.StatusCode)
	}
	return nil
}

var snsRegion = regexp.MustCompile(`^[a-z0-9-]{3,32}$`)

// snsAddress sees to it that an address confirms the topic and does nothing else.
func snsAddress(text, topic string) (*url.URL, error) {
	bad := func(why string) error {
		return snsRefused(ErrMalformed, "field SubscribeURL %s, and is not called", why)
	}
	u, err := url.Parse(text)
	if err != nil || text == "" {
		return nil, bad("is no URL")
	}
	arn := strings.Split(topic, ":") // arn:aws:sns:us-east-1:123456789012:name
	if len(arn) != 6 || arn[0] != "arn" || arn[2] != "sns" || !snsRegion.MatchString(arn[3]) {
		return nil, snsRefused(ErrMissing, "topic_arn is not of the form arn:aws:sns:region:account:name")
	}
	host := "sns." + arn[3] + ".amazonaws.com"
	if arn[1] == "aws-cn" {
		host += ".cn"
	}
	query := u.Query()
	switch {
	case u.Scheme != "https":
		return nil, bad("is not https")
	case u.Host != host || u.User != nil:
		return nil, bad("is not at " + host)
	case u.Path != "/" && u.Path != "" || u.Fragment != "" || u.Opaque != "":
		return nil, bad("has a path")
	case len(query["Action"]) != 1 || query.Get("Action") != "ConfirmSubscription":
		return nil, bad("does not confirm a subscription")
	case len(query["TopicArn"]) != 1 || query.Get("TopicArn") != topic:
		return nil, bad("is for another topic")
	}
	return u, nil
}

func snsRefused(kind error, format string, args ...any) error {
	return &Error{Scheme: "aws-sns", Kind: kind, Detail: fmt.Sprintf(format, args...)}
}
