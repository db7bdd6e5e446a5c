package hookgate

import (
	"sync"

	"github.com/hookgate/hookgate/signing"
)

// parts are what endpoints and subscriptions name: signers, transformers and authorizers under durable names. A signer
// that nobody registered is one of those that come with package signing.
type parts struct {
	mu           sync.RWMutex
	signers      map[string]Signer
	transformers map[string]Transformer
	authorizers  map[string]Authorizer
}

func (p *parts) signer(name string) (Signer, bool) {
	p.mu.RLock()
	s, ok := p.signers[name]
	p.mu.RUnlock()
	if ok {
		return s, true
	}
	return signing.SignerFor(name)
}

func (p *parts) transformer(name string) (Transformer, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	t, ok := p.transformers[name]
	return t, ok
}

// RegisterSigner gives a signer the name by which endpoints ask for it. Endpoints store the name, so keep it the same over
// releases, and register it before Run: deliveries of an endpoint whose signer is missing wait. A name is made of letters,
// digits, "-", "_" and ".", at most 64, and can be taken once.
//
// The signers that signing.Signers lists need not be registered: "stripe", "github", "none" and so on. A signer of your own
// under such a name takes its place, so that a name which a later version adds never takes the place of yours.
func (g *Gateway) RegisterSigner(name string, s Signer) error {
	if !isHandlerName(name) {
		return configError("RegisterSigner", "%q is not a name: use letters, digits, -, _ and ., at most 64", cleanText(name, 100))
	}
	if s == nil {
		return configError("RegisterSigner."+name, "the signer is nil")
	}
	g.parts.mu.Lock()
	defer g.parts.mu.Unlock()
	if g.parts.signers[name] != nil {
		return configError("RegisterSigner."+name, "is registered already")
	}
	if g.parts.signers == nil {
		g.parts.signers = make(map[string]Signer)
	}
	g.parts.signers[name] = s
	return nil
}

// RegisterTransformer gives a transformer the name by which endpoints and subscriptions ask for it, with the same rules as
// RegisterSigner.
func (g *Gateway) RegisterTransformer(name string, t Transformer) error {
	if !isHandlerName(name) {
		return configError("RegisterTransformer", "%q is not a name: use letters, digits, -, _ and ., at most 64", cleanText(name, 100))
	}
	if t == nil {
		return configError("RegisterTransformer."+name, "the transformer is nil")
	}
	g.parts.mu.Lock()
	defer g.parts.mu.Unlock()
	if g.parts.transformers[name] != nil {
		return configError("RegisterTransformer."+name, "is registered already")
	}
	if g.parts.transformers == nil {
		g.parts.transformers = make(map[string]Transformer)
	}
	g.parts.transformers[name] = t
	return nil
}
