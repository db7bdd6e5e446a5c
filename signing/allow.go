package signing

import (
	"errors"
	"fmt"
	"net/netip"
)

// Allow verifies that the sender's address (Request.Remote) lies in one of the ranges. Behind a proxy that is the
// proxy's own address unless the proxy is trusted, see Source.TrustedProxies of the gateway. A range of one address is
// netip.PrefixFrom(addr, addr.BitLen()).
//
// An address is a weak proof, as many may share it: it is best as the first member of AllOf. It signs nothing
// (CoversNothing). A request without a known address is refused.
//
// An error means no range at all, one that is not valid, or one that lets everybody in, for which Unverified is the word.
func Allow(prefixes ...netip.Prefix) (Verifier, error) {
	if len(prefixes) == 0 {
		return nil, errors.New("signing: allow: no range is given; put in those that the provider publishes")
	}
	v := &allow{}
	for i, p := range prefixes {
		if !p.IsValid() {
			return nil, fmt.Errorf("signing: allow: range %d of %d is not valid", i+1, len(prefixes))
		}
		if p.Addr().Is4In6() { // the form of IPv4 addresses on a socket for both
			if p.Bits() < 96 {
				return nil, fmt.Errorf("signing: allow: range %d of %d mixes IPv4 and IPv6; write it as two", i+1, len(prefixes))
			}
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		if p.Bits() == 0 {
			return nil, fmt.Errorf("signing: allow: range %d of %d lets everybody in; leave it out, or write Unverified if that is meant", i+1, len(prefixes))
		}
		v.prefixes = append(v.prefixes, p.Masked())
	}
	return v, nil
}

type allow struct{ prefixes []netip.Prefix }

// Verify looks for a range that has the address.
func (v *allow) Verify(r *Request) (Verdict, error) {
	if !r.Remote.IsValid() {
		return Verdict{}, named("allow", flaw(ErrMissing, "the sender's address is not known: does the server or the proxy in front of it tell?"))
	}
	addr := r.Remote.Unmap().WithZone("")
	for _, p := range v.prefixes {
		if p.Contains(addr) {
			return Verdict{Key: -1}, nil
		}
	}
	return Verdict{}, named("allow", flaw(ErrMismatch, "the address %s is in none of %s: the provider has new ones, or it is a proxy's that is not among the trusted ones",
		addr, count(len(v.prefixes), "range")))
}
