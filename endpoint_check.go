package hookgate

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// How large what a tenant may choose can be. The limits keep an endpoint small enough to be held in memory, ten thousand
// of them beside each other, and far below what any honest use needs.
const (
	maxTenant         = 128
	maxURL            = 2048
	maxDescription    = 1024
	maxHeaders        = 32
	maxHeaderBytes    = 16 << 10
	maxSubscriptions  = 64
	maxPatterns       = 256 // of all subscriptions together
	maxType           = 256
	maxPartName       = 64
	maxLabels         = 32
	maxLabelKey       = 64
	maxLabelValue     = 256
	maxEndpointFlight = 10_000
	maxTimeout        = time.Hour
)

// checkEndpoint says what is wrong with what a caller wants an endpoint to be; nil: nothing.
func (g *Gateway) checkEndpoint(ep *Endpoint) error {
	bad := func(field, format string, args ...any) error { return configError("Endpoint."+field, format, args...) }
	if !isSourceName(ep.ID) {
		return bad("ID", "%q is not an ID: use letters, digits, - and _, at most 64", cleanText(ep.ID, 100))
	}
	if why := badTenant(ep.Tenant); why != "" {
		return bad("Tenant", "%s", why)
	}
	if err := g.checkEndpointURL(ep.URL); err != nil {
		return err
	}
	if why := badText(ep.Description, maxDescription); why != "" {
		return bad("Description", "%s", why)
	}
	if err := checkEndpointHeader(ep.Header); err != nil {
		return err
	}
	if err := g.checkAuth(ep); err != nil {
		return err
	}
	if why := badLabels(ep.Labels); why != "" {
		return bad("Labels", "%s", why)
	}
	if len(ep.Subscriptions) > maxSubscriptions {
		return bad("Subscriptions", "%d are more than %d: put several types into one", len(ep.Subscriptions), maxSubscriptions)
	}
	patterns := 0
	for i := range ep.Subscriptions {
		s := &ep.Subscriptions[i]
		if err := g.checkSubscription(fmt.Sprintf("Endpoint.Subscriptions[%d]", i), s); err != nil {
			return err
		}
		patterns += max(len(s.Types), 1)
	}
	if patterns > maxPatterns {
		return bad("Subscriptions", "%d types are more than %d: use a pattern that ends in *", patterns, maxPatterns)
	}
	if ep.Signer != "" {
		if _, ok := g.parts.signer(ep.Signer); !ok {
			return bad("Signer", "%q is not registered: call RegisterSigner first, or use one that signing.Signers lists", cleanText(ep.Signer, maxPartName))
		}
	}
	if err := g.checkSignerHeader(ep); err != nil {
		return err
	}
	if ep.Transformer != "" {
		if _, ok := g.parts.transformer(ep.Transformer); !ok {
			return bad("Transformer", "%q is not registered: call RegisterTransformer first", cleanText(ep.Transformer, maxPartName))
		}
	}
	switch {
	case ep.MaxInFlight < 0:
		return bad("MaxInFlight", "must not be negative; 0 means Config.PerDestination")
	case ep.MaxInFlight > maxEndpointFlight:
		return bad("MaxInFlight", "%d is more than %d", ep.MaxInFlight, maxEndpointFlight)
	case ep.Timeout < 0:
		return bad("Timeout", "must not be negative; 0 means Config.Timeout")
	case ep.Timeout > maxTimeout:
		return bad("Timeout", "%v is more than %v", ep.Timeout, maxTimeout)
	}
	return nil
}

// checkEndpointURL never repeats the URL: people put secrets there all the same.
func (g *Gateway) checkEndpointURL(raw string) error {
	bad := func(format string, args ...any) error { return configError("Endpoint.URL", format, args...) }
	switch {
	case raw == "":
		return bad("is required")
	case len(raw) > maxURL:
		return bad("its %d bytes are more than %d", len(raw), maxURL)
	}
	if err := g.guard.checkURL(raw); err != nil {
		return bad("%w", blockedReason(err))
	}
	return nil
}

func checkEndpointHeader(header map[string]string) error {
	if len(header) > maxHeaders {
		return configError("Endpoint.Header", "%d headers are more than %d", len(header), maxHeaders)
	}
	if len(canonicalHeader(header)) != len(header) {
		return configError("Endpoint.Header", "two names differ in upper and lower case alone")
	}
	size := 0
	for name, value := range header {
		if err := checkHeader(name, value); err != nil {
			return configError("Endpoint.Header", "%w", err)
		}
		size += len(name) + len(value)
	}
	if size > maxHeaderBytes {
		return configError("Endpoint.Header", "%d bytes are more than %d", size, maxHeaderBytes)
	}
	return nil
}

// checkSubscription is for endpoints and handlers; field names the subscription in the error.
func (g *Gateway) checkSubscription(field string, s *Subscription) error {
	if s.Source != "" && s.Source != "*" && !isSourceName(s.Source) {
		return configError(field+".Source", `%q is not a source's name; "" means the application, "*" everybody`, cleanText(s.Source, 100))
	}
	if len(s.Types) > maxPatterns {
		return configError(field+".Types", "%d types are more than %d: use a pattern that ends in *", len(s.Types), maxPatterns)
	}
	for i, t := range s.Types {
		prefix, isPrefix := strings.CutSuffix(t, "*")
		if isPrefix && prefix == "" {
			continue
		}
		if why := badType(prefix); why != "" {
			return configError(fmt.Sprintf("%s.Types[%d]", field, i), `%s; "name.*" matches all that begin with "name."`, why)
		}
	}
	if s.Transformer != "" {
		if _, ok := g.parts.transformer(s.Transformer); !ok {
			return configError(field+".Transformer", "%q is not registered: call RegisterTransformer first", cleanText(s.Transformer, maxPartName))
		}
	}
	return nil
}

// The checks that follow answer what is wrong in words, or "". They run for every event, so they allocate nothing as long
// as nothing is wrong.

func badType(s string) string {
	if s == "" {
		return "is required, such as \"invoice.paid\""
	}
	if len(s) > maxType {
		return "is longer than 256 bytes"
	}
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c == '*' || c == 0x7f {
			return "must not hold a space, a control character or *"
		}
	}
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	return ""
}

func badTenant(s string) string {
	if len(s) > maxTenant {
		return "is longer than 128 bytes"
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '*' || c == 0x7f {
			return "must not hold a control character or *"
		}
	}
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	return ""
}

func badText(s string, limit int) string {
	if len(s) > limit {
		return fmt.Sprintf("is longer than %d bytes", limit)
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\n' && c != '\t' || c == 0x7f {
			return "must not hold a control character"
		}
	}
	if !utf8.ValidString(s) {
		return "is not valid UTF-8"
	}
	return ""
}

func badLabels(labels map[string]string) string {
	if len(labels) > maxLabels {
		return fmt.Sprintf("%d are more than %d", len(labels), maxLabels)
	}
	for k, v := range labels {
		if k == "" {
			return "a name is empty"
		}
		if badText(k, maxLabelKey) != "" {
			return fmt.Sprintf("a name is longer than %d bytes or holds a control character", maxLabelKey)
		}
		if badText(v, maxLabelValue) != "" {
			return fmt.Sprintf("the value of %s is longer than %d bytes or holds a control character", k, maxLabelValue)
		}
	}
	return ""
}

// oneTenant refuses AllTenants where one tenant's thing is meant.
func oneTenant(tenant string) error {
	if why := badTenant(tenant); why != "" {
		return configError("tenant", "%s; only lists take AllTenants", why)
	}
	return nil
}
