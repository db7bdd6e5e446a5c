package signing

import (
	"errors"
	"fmt"
	"time"
)

// Other gateways that pass webhooks on, or send them for their users.
var relayRows = map[string]provider{
	"convoy": row("Convoy (simple)", VendorCode, signsBody("X-Convoy-Signature", HMACSHA256, Hex).chosen()).
		settings(convoySettings, convoyHash, convoyEncoding, headerSetting),
	"convoy-advanced": row("Convoy (advanced)", VendorCode, signsConvoyAdvanced().chosen()).
		settings(convoySettings, convoyHash, convoyEncoding, headerSetting),
	// One prefix before the whole list; the time is sent in a header of its own and not signed.
	"outpost": row("Outpost", VendorCode, signsOutpost().
		typeFrom(Header("X-Outpost-Topic")).idFrom(Header("X-Outpost-Event-Id"))),
	"hookdeck": row("Hookdeck", ThirdParty, signsHookdeck().idFrom(Header("X-Hookdeck-EventId"))),
}

// signsConvoyAdvanced is "t=1700000000,v1=xxx,v1=yyy,v2=zzz": a version is a way to sign, of which the receiver is set up
// for one, and a version that comes twice has several secrets. A signature of another hash has another length.
func signsConvoyAdvanced() Scheme {
	s := signsPairs("X-Convoy-Signature", "t", "v1").over(Timestamp, Text(","), Body).within(5 * time.Minute)
	for _, version := range []string{"v2", "v3", "v4"} {
		s.Tags = append(s.Tags, Tag{Name: version})
	}
	return s
}

func signsOutpost() Scheme {
	s := signsBody("X-Outpost-Signature", HMACSHA256, Hex).after("v0=")
	s.Format = Group
	return s
}

// signsHookdeck has a second header while a key is being rotated.
func signsHookdeck() Scheme {
	s := signsBody("X-Hookdeck-Signature", HMACSHA256, Base64)
	s.Second = Header("X-Hookdeck-Signature-2")
	return s
}

var (
	convoyHash     = Setting{Name: "hash", Doc: "`SHA256` or `SHA512`; empty means SHA256"}
	convoyEncoding = Setting{Name: "encoding", Doc: "`hex` or `base64`; empty means hex"}
)

func convoySettings(s *Scheme, given map[string]string) error {
	switch given["hash"] {
	case "", "SHA256":
	case "SHA512":
		s.Algorithm = HMACSHA512
	default:
		return errors.New("the setting hash is neither SHA256 nor SHA512")
	}
	switch given["encoding"] {
	case "", "hex":
	case "base64":
		s.Encoding = Base64
	default:
		return errors.New("the setting encoding is neither hex nor base64")
	}
	return otherHeader(s, given)
}

// moveTo puts the signature into another header.
func (s *Scheme) moveTo(header string) error {
	if _, err := headerName(header); err != nil {
		return fmt.Errorf("the setting header: %w", err)
	}
	s.Signature = Header(header)
	return nil
}
