package signing

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
)

const snsTopic = "arn:aws:sns:us-east-1:123456789012:MyTopic"

// snsProof is a verifier that believes whoever shows X-Proof; what SNS signs is tested beside its verifier.
type snsProof struct{}

func (snsProof) Verify(r *Request) (Verdict, error) {
	if r.Header.Get("X-Proof") == "" {
		return Verdict{}, &Error{Scheme: "aws-sns", Kind: ErrMismatch, Detail: "forged"}
	}
	return Verdict{Type: "Notification"}, nil
}

// fakeSNS stands for SNS: it counts the calls and answers.
type fakeSNS struct {
	mu     sync.Mutex
	calls  []string
	status int
	header http.Header
	err    error
	wait   chan struct{}
}

func (a *fakeSNS) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.calls = append(a.calls, r.Method+" "+r.URL.String())
	a.mu.Unlock()
	if a.wait != nil {
		a.wait <- struct{}{}
		<-a.wait
	}
	if a.err != nil {
		return nil, a.err
	}
	return &http.Response{StatusCode: a.status, Header: a.header, Body: io.NopCloser(strings.NewReader("<ok/>")), Request: r}, nil
}

func snsURL(host string, change ...string) string {
	q := url.Values{"Action": {"ConfirmSubscription"}, "TopicArn": {snsTopic}, "Token": {"2336412f37fb"}}
	for i := 0; i < len(change); i += 2 {
		q.Set(change[i], change[i+1])
	}
	return "https://" + host + "/?" + q.Encode()
}

func snsAsk(topic, address string) *Request {
	return shakeRequest("POST https://h/", `{"Type":"SubscriptionConfirmation","TopicArn":"`+topic+`","SubscribeURL":"`+address+`"}`, "X-Proof: yes")
}

const snsTestHost = "sns.us-east-1.amazonaws.com"

func TestSNSConfirmation(t *testing.T) {
	t.Parallel()
	sns := &fakeSNS{status: 200}
	v := confirmsSNS(snsProof{}, &http.Client{Transport: sns}, []string{snsTopic})
	reply, err := v.(Handshaker).Handshake(snsAsk(snsTopic, snsURL(snsTestHost)))
	if err != nil || reply == nil || reply.Status != 200 || len(reply.Body) != 0 {
		t.Fatalf("got %+v, %v", reply, err)
	}
	if len(sns.calls) != 1 || sns.calls[0] != "GET "+snsURL(snsTestHost) {
		t.Errorf("SNS was called %v", sns.calls)
	}
	// An event is none, whatever the header says that nobody signed.
	event := shakeRequest("POST https://h/", `{"Type":"Notification","SubscribeURL":"`+snsURL(snsTestHost)+`"}`, "X-Proof: yes", "X-Amz-Sns-Message-Type: SubscriptionConfirmation")
	if reply, err := v.(Handshaker).Handshake(event); reply != nil || err != nil {
		t.Errorf("an event: %+v, %v", reply, err)
	}
	china := strings.Replace(strings.Replace(snsTopic, "arn:aws:", "arn:aws-cn:", 1), "us-east-1", "cn-north-1", 1)
	if _, err := snsAddress(snsURL("sns.cn-north-1.amazonaws.com.cn", "TopicArn", china), china); err != nil {
		t.Errorf("China: %v", err)
	}
	if len(sns.calls) != 1 {
		t.Errorf("SNS was called %v", sns.calls)
	}
}

// TestSNSCallsNobodyElse: whatever a message says, nothing is called but SNS, and that for the pinned topic only.
func TestSNSCallsNobodyElse(t *testing.T) {
	t.Parallel()
	other := strings.Replace(snsTopic, "1234", "6666", 1)
	forged := snsAsk(snsTopic, snsURL(snsTestHost))
	forged.Header.Del("X-Proof")
	for why, c := range map[string]struct {
		topic string
		r     *Request
		kind  error
	}{
		"forged":            {snsTopic, forged, ErrMismatch},
		"no topic is set":   {"", snsAsk(snsTopic, snsURL(snsTestHost)), ErrMissing},
		"no ARN":            {"MyTopic", snsAsk("MyTopic", snsURL(snsTestHost, "TopicArn", "MyTopic")), ErrMissing},
		"another topic":     {snsTopic, snsAsk(other, snsURL(snsTestHost, "TopicArn", other)), ErrMismatch},
		"a topic in the ..": {snsTopic, snsAsk(snsTopic, snsURL(snsTestHost, "TopicArn", other)), ErrMalformed},
		"another action":    {snsTopic, snsAsk(snsTopic, snsURL(snsTestHost, "Action", "DeleteTopic")), ErrMalformed},
		"no URL":            {snsTopic, snsAsk(snsTopic, ""), ErrMalformed},
		"http":              {snsTopic, snsAsk(snsTopic, strings.Replace(snsURL(snsTestHost), "https:", "http:", 1)), ErrMalformed},
		"metadata service":  {snsTopic, snsAsk(snsTopic, snsURL("169.254.169.254")), ErrMalformed},
		"another region":    {snsTopic, snsAsk(snsTopic, snsURL("sns.eu-west-1.amazonaws.com")), ErrMalformed},
		"a bucket":          {snsTopic, snsAsk(snsTopic, snsURL("sns.us-east-1.s3.amazonaws.com")), ErrMalformed},
		"a longer host":     {snsTopic, snsAsk(snsTopic, snsURL(snsTestHost+".evil.test")), ErrMalformed},
		"a user":            {snsTopic, snsAsk(snsTopic, snsURL(snsTestHost+"@evil.test")), ErrMalformed},
		"a port":            {snsTopic, snsAsk(snsTopic, snsURL(snsTestHost+":8443")), ErrMalformed},
		"a path":            {snsTopic, snsAsk(snsTopic, strings.Replace(snsURL(snsTestHost), "/?", "/x?", 1)), ErrMalformed},
	} {
		sns := &fakeSNS{status: 200}
		var topics []string
		if c.topic != "" {
			topics = []string{c.topic}
		}
		reply, err := confirmsSNS(snsProof{}, &http.Client{Transport: sns}, topics).(Handshaker).Handshake(c.r)
		if reply != nil || !errors.Is(err, ErrRefused) || !errors.Is(err, c.kind) {
			t.Errorf("%s: %+v, %v", why, reply, err)
		}
		if len(sns.calls) != 0 {
			t.Errorf("%s: called %v", why, sns.calls)
		}
	}
	if reply, err := confirmsSNS(snsProof{}, nil, []string{snsTopic}).(Handshaker).Handshake(snsAsk(snsTopic, snsURL(snsTestHost))); reply != nil || !errors.Is(err, ErrMissing) {
		t.Errorf("no client: %+v, %v", reply, err)
	}
}

// TestSNSMustSaySo: only an answer of 200 confirms. A redirect is followed nowhere, and the token is not told.
func TestSNSMustSaySo(t *testing.T) {
	t.Parallel()
	for why, sns := range map[string]*fakeSNS{
		"refused":     {status: 403},
		"redirect":    {status: 302, header: http.Header{"Location": {"http://169.254.169.254/"}}},
		"unreachable": {err: errors.New("no route")},
		"half done":   {status: 202},
	} {
		reply, err := confirmsSNS(snsProof{}, &http.Client{Transport: sns}, []string{snsTopic}).(Handshaker).Handshake(snsAsk(snsTopic, snsURL(snsTestHost)))
		if reply != nil || !errors.Is(err, ErrUnavailable) || strings.Contains(err.Error(), "2336412f37fb") {
			t.Errorf("%s: %+v, %v", why, reply, err)
		}
		if len(sns.calls) != 1 {
			t.Errorf("%s: called %v", why, sns.calls)
		}
	}
}

// TestSNSConfirmsOneAtATime: repeats of a confirmation do not make a crowd of requests.
func TestSNSConfirmsOneAtATime(t *testing.T) {
	t.Parallel()
	sns := &fakeSNS{status: 200, wait: make(chan struct{})}
	h := confirmsSNS(snsProof{}, &http.Client{Transport: sns}, []string{snsTopic}).(Handshaker)
	done := make(chan error)
	go func() {
		_, err := h.Handshake(snsAsk(snsTopic, snsURL(snsTestHost)))
		done <- err
	}()
	<-sns.wait // the first is on its way
	if _, err := h.Handshake(snsAsk(snsTopic, snsURL(snsTestHost))); !errors.Is(err, ErrUnavailable) {
		t.Errorf("the second: %v", err)
	}
	sns.wait <- struct{}{}
	if err := <-done; err != nil {
		t.Errorf("the first: %v", err)
	}
	if len(sns.calls) != 1 {
		t.Errorf("%d calls", len(sns.calls))
	}
}
