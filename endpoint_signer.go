package hookgate

import (
	"context"
	"net/textproto"
	"slices"
	"strings"
	"time"

	"github.com/hookgate/hookgate/signing"
)

// signerHeaders answers the headers that the endpoint's signer sets, as far as it says so.
func (g *Gateway) signerHeaders(ep *Endpoint) ([]string, error) {
	signer, err := g.signerOf(ep.Signer)
	if err != nil {
		return nil, err
	}
	if lister, ok := signer.(signing.HeaderLister); ok {
		return lister.Headers(), nil
	}
	return nil, nil
}

// checkSignerHeader refuses headers that the endpoint's signer sets: they would be lost without a word.
func (g *Gateway) checkSignerHeader(ep *Endpoint) error {
	if len(ep.Header) == 0 {
		return nil
	}
	set, err := g.signerHeaders(ep)
	if err != nil {
		return err
	}
	for name := range ep.Header {
		if canonical := textproto.CanonicalMIMEHeaderKey(name); slices.Contains(set, canonical) {
			return configError("Endpoint.Header", "the header %s cannot be set: it belongs to the signature", canonical)
		}
	}
	return nil
}

// keysFor answers those of an endpoint's keys that stay when it gets another signer.
func keysFor(signer Signer, keys []ringKey) ([]ringKey, error) {
	switch needsNone := signer.NewSecret().IsZero(); {
	case needsNone:
		return nil, nil
	case len(keys) == 0:
		return nil, configError("Endpoint.Signer", "needs a secret, and the endpoint has none: give one to UpdateEndpoint")
	}
	for _, k := range keys {
		if err := signer.CheckSecret(k.secret); err != nil {
			return nil, configError("Endpoint.Signer", "cannot use the endpoint's secret (%w): give new ones to UpdateEndpoint", err)
		}
	}
	return keys, nil
}

// PublicKeys lists the public keys of an endpoint's Ed25519 secrets ("whsk_") that are active or scheduled, the newest first,
// each as "whpk_" and base64. They are no secrets: signing.JWKS publishes them. One that is scheduled is among them, because
// whoever keeps the list for a while needs it at the moment that it begins to sign. Secrets of other kinds have none.
func (g *Gateway) PublicKeys(ctx context.Context, tenant, id string) ([]string, error) {
	_, ring, err := g.readRing(ctx, tenant, id)
	if err != nil {
		return nil, edge("list public keys", err)
	}
	var out []string
	for _, k := range ring.living(time.Now()) {
		if !strings.HasPrefix(k.secret.Reveal(), "whsk_") {
			continue
		}
		public, err := signing.PublicKey(k.secret)
		if err != nil {
			return nil, edge("list public keys", err)
		}
		out = append(out, public)
	}
	return out, nil
}
