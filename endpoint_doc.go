package hookgate

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hookgate/hookgate/store"
)

// redacted stands for a value that is not told.
const redacted = "REDACTED"

// endpointFormat is the format of the document; a process refuses those of a newer one.
const endpointFormat = 1

var (
	errNewerDoc   = errors.New("the document was written by a newer version: run that version, or a later one")
	errDamagedDoc = errors.New("the endpoint's document is damaged: delete the endpoint and make it again")
)

// endpointDoc is an endpoint as it is stored. Its tenant, ID, version and time of change are the document's own.
type endpointDoc struct {
	Format        int               `json:"format"`
	URL           string            `json:"url"`
	Description   string            `json:"description,omitempty"`
	Header        []string          `json:"header,omitempty"` // names; the values are in Secrets
	Auth          *authDoc          `json:"auth,omitempty"`
	TLS           *tlsDoc           `json:"tls,omitempty"` // what is set is REDACTED
	Subscriptions []subscriptionDoc `json:"subscriptions,omitempty"`
	Signer        string            `json:"signer,omitempty"`
	Transformer   string            `json:"transformer,omitempty"`
	MaxInFlight   int               `json:"max_in_flight,omitempty"`
	Timeout       time.Duration     `json:"timeout,omitempty"` // nanoseconds
	Labels        map[string]string `json:"labels,omitempty"`
	Created       time.Time         `json:"created"`
	Disabled      bool              `json:"disabled,omitempty"`
	Secrets       []byte            `json:"secrets,omitempty"` // the key ring, sealed
}

type subscriptionDoc struct {
	Source      string   `json:"source,omitempty"`
	Types       []string `json:"types,omitempty"`
	Transformer string   `json:"transformer,omitempty"`
	Unordered   bool     `json:"unordered,omitempty"`
	Block       bool     `json:"block,omitempty"`
}

func encodeEndpoint(ep *Endpoint, ring string) ([]byte, error) {
	doc := endpointDoc{
		Format: endpointFormat, URL: ep.URL, Description: ep.Description, Header: slices.Sorted(maps.Keys(ep.Header)),
		Signer: ep.Signer, Transformer: ep.Transformer, MaxInFlight: ep.MaxInFlight, Timeout: ep.Timeout, Labels: ep.Labels,
		Created: ep.Created, Disabled: ep.Disabled, Secrets: []byte(ring),
	}
	if ep.Auth != nil {
		doc.Auth = &authDoc{Kind: ep.Auth.Kind, Params: slices.Sorted(maps.Keys(ep.Auth.Params))}
	}
	if ep.TLS != nil {
		t := tlsDoc(ep.TLS.redacted())
		doc.TLS = &t
	}
	for _, s := range ep.Subscriptions {
		doc.Subscriptions = append(doc.Subscriptions, subscriptionDoc(s))
	}
	data, err := json.Marshal(doc)
	if err != nil {
		return nil, errors.New("the endpoint cannot be encoded")
	}
	return data, nil
}

// decodeEndpoint reads what encodeEndpoint wrote: the endpoint, and its key ring as it is stored.
func decodeEndpoint(d *store.Doc) (*Endpoint, string, error) {
	var doc endpointDoc
	if err := json.Unmarshal(d.Data, &doc); err != nil {
		return nil, "", fmt.Errorf("endpoint %s: %w", d.ID, errDamagedDoc)
	}
	switch {
	case doc.Format > endpointFormat:
		return nil, "", fmt.Errorf("endpoint %s: %w", d.ID, errNewerDoc)
	case doc.Format != endpointFormat:
		return nil, "", fmt.Errorf("endpoint %s: %w", d.ID, errDamagedDoc)
	}
	ep := &Endpoint{
		ID: d.ID, Tenant: d.Group, URL: doc.URL, Description: doc.Description, Signer: doc.Signer,
		Transformer: doc.Transformer, MaxInFlight: doc.MaxInFlight, Timeout: doc.Timeout, Labels: doc.Labels,
		Version: d.Version, Created: doc.Created, Updated: d.Updated, Disabled: doc.Disabled,
	}
	ep.Header = redactAll(doc.Header)
	if doc.Auth != nil {
		ep.Auth = &Auth{Kind: doc.Auth.Kind, Params: redactAll(doc.Auth.Params)}
	}
	if doc.TLS != nil {
		t := ClientTLS(*doc.TLS).redacted()
		ep.TLS = &t
	}
	if len(doc.Subscriptions) > 0 {
		ep.Subscriptions = make([]Subscription, len(doc.Subscriptions))
	}
	for i, s := range doc.Subscriptions {
		s.Types = append(make([]string, 0, len(s.Types)), s.Types...) // json leaves room for more
		if len(s.Types) == 0 {
			s.Types = nil
		}
		ep.Subscriptions[i] = Subscription(s)
	}
	return ep, string(doc.Secrets), nil
}

// clone copies an endpoint with all that it points to.
func (ep *Endpoint) clone() *Endpoint {
	c := *ep
	c.Header, c.Labels = maps.Clone(ep.Header), maps.Clone(ep.Labels)
	if a := ep.auth(); a.Kind != "" || len(a.Params) > 0 {
		c.Auth = &Auth{Kind: a.Kind, Params: maps.Clone(a.Params)}
	} else {
		c.Auth = nil
	}
	if t := ep.clientTLS(); t != (ClientTLS{}) {
		c.TLS = &t
	} else {
		c.TLS = nil
	}
	c.Holds = slices.Clone(ep.Holds)
	c.Subscriptions = slices.Clone(ep.Subscriptions)
	for i := range c.Subscriptions {
		c.Subscriptions[i].Types = slices.Clone(c.Subscriptions[i].Types)
	}
	return &c
}
