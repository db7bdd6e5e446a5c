package signing

import "time"

// The forms that many providers share. A row is one of them with a few changes.

// signsBody is the most common form: one HMAC of the body alone, in a header, under a text.
func signsBody(header string, a Algorithm, e Encoding) Scheme {
	return Scheme{
		Signature: Header(header), Algorithm: a, Encoding: e, Secret: TextSecret,
		Message: []Part{Body},
	}
}

// signsPairs is Stripe's form: "t=1700000000,v1=xxx", an HMAC-SHA256 in hex of the time, a dot and the body.
func signsPairs(header, stamp, tag string) Scheme {
	s := signsBody(header, HMACSHA256, Hex).over(Timestamp, Text("."), Body)
	s.Format, s.Tags = Pairs, []Tag{{Name: tag}}
	s.Time = TimeRule{From: Entry(stamp)}
	return s
}

// signsStandard is Standard Webhooks, version 1 with HMAC and 1a with Ed25519, under headers of this prefix.
func signsStandard(prefix string) Scheme {
	return Scheme{
		Signature: Header(prefix + "Signature"), Format: Tagged,
		Tags:     []Tag{{"v1", HMACSHA256}, {"v1a", Ed25519}},
		Encoding: Base64, Secret: StandardSecret,
		Message: []Part{Header(prefix + "Id"), Text("."), Timestamp, Text("."), Body},
		Time:    TimeRule{From: Header(prefix + "Timestamp"), Tolerance: 5 * time.Minute},
		Type:    JSON("type"), ID: Header(prefix + "Id"),
	}
}

// signsSvix is the same under Svix's own headers, or under the standard ones; never a mixture.
func signsSvix() Scheme {
	s, other := signsStandard("Svix-"), signsStandard("Webhook-")
	s.Otherwise = &other
	return s
}

// showsToken is no signature: the sender shows the secret in a header.
func showsToken(header, prefix string) Scheme {
	return Scheme{Signature: Header(header), Prefix: prefix, Algorithm: Token, Encoding: Raw, Secret: TextSecret}
}

// showsBasic is HTTP's Basic; the secret is "user:password".
func showsBasic() Scheme {
	s := showsToken("Authorization", "Basic ")
	s.Encoding = Base64
	return s
}

// The changes. Each gives a copy.

func (s Scheme) after(prefix string) Scheme    { s.Prefix = prefix; return s }
func (s Scheme) over(message ...Part) Scheme   { s.Message = message; return s }
func (s Scheme) under(kind SecretKind) Scheme  { s.Secret = kind; return s }
func (s Scheme) typeFrom(p Part) Scheme        { s.Type = p; return s }
func (s Scheme) idFrom(p Part) Scheme          { s.ID = p; return s }
func (s Scheme) orderBy(p Part) Scheme         { s.OrderingKey = p; return s }
func (s Scheme) within(d time.Duration) Scheme { s.Time.Tolerance = d; return s }
func (s Scheme) requires(m ...Match) Scheme    { s.Require = m; return s }
func (s Scheme) answers(h ...Handshake) Scheme { s.Handshakes = h; return s }
func (s Scheme) tagged(tags ...Tag) Scheme     { s.Tags = tags; return s }
func (s Scheme) timeFrom(p Part, u TimeUnit) Scheme {
	s.Time.From, s.Time.Unit = p, u
	return s
}

// chosen lets the secret be as short as people like to choose it, and as short as in the provider's own examples.
func (s Scheme) chosen() Scheme { s.MinSecret = 4; return s }

// filled refuses an empty body, as the provider's own library does.
func (s Scheme) filled() Scheme { s.noEmptyBody = true; return s }

// row makes an entry of the catalogue.
func row(title, source string, s Scheme) provider {
	return provider{Provider: Provider{Title: title, Source: source}, row: s}
}

// settings lets an entry be adjusted.
func (p provider) settings(adjust func(s *Scheme, given map[string]string) error, list ...Setting) provider {
	p.adjust, p.Settings = adjust, list
	return p
}

// secretIs says in words what to put in as the secret, where the row does not say enough.
func (p provider) secretIs(words string) provider {
	p.Secret = words
	return p
}
