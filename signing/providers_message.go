package signing

import "time"

// Providers of mail, chat, calls and social networks.
var messageRows = map[string]provider{
	"slack": row("Slack", VendorCode, signsVersioned("X-Slack-Signature", "X-Slack-Request-Timestamp").within(5*time.Minute).
		typeFrom(FirstOf(JSON("event", "type"), JSON("type"))).idFrom(JSON("event_id")).orderBy(JSON("event", "channel")).
		answers(Handshake{
			When: []Match{{JSON("type"), "url_verification"}}, Signed: true,
			Challenge: JSON("challenge"), Members: []Member{{Name: "challenge"}},
		})),
	"zoom": row("Zoom", VendorCode, signsVersioned("X-Zm-Signature", "X-Zm-Request-Timestamp").
		typeFrom(JSON("event")).orderBy(JSON("payload", "object", "uuid")).
		answers(Handshake{
			// Signed, because the reply is a signature over a text of the caller's choice.
			When: []Match{{JSON("event"), "endpoint.url_validation"}}, Signed: true,
			Challenge: JSON("payload", "plainToken"),
			Members:   []Member{{Name: "plainToken"}, {Name: "encryptedToken", Digest: true, Encoding: Hex}},
		})),
	"customer-io": row("Customer.io", ThirdParty, signsCustomerIO().
		typeFrom(JSON("metric")).idFrom(JSON("event_id"))),
	"twitch": row("Twitch EventSub", VendorCode, signsTwitch().
		// Such as "notification.channel.follow": the message type tells a notification from a revocation.
		typeFrom(Join(".", Header("Twitch-Eventsub-Message-Type"), Header("Twitch-Eventsub-Subscription-Type"))).
		idFrom(Header("Twitch-Eventsub-Message-Id")).orderBy(JSON("subscription", "id")).
		answers(Handshake{
			When:   []Match{{Header("Twitch-Eventsub-Message-Type"), "webhook_callback_verification"}},
			Signed: true, Challenge: JSON("challenge"),
		})).secretIs("the text that the subscription was made with, 10 to 100 characters"),

	"sendgrid": row("SendGrid (events)", VendorCode, Scheme{
		Signature: Header("X-Twilio-Email-Event-Webhook-Signature"),
		Algorithm: ECDSAP256, Encoding: Base64, Secret: Base64Secret,
		Message: []Part{Timestamp, Body},
		Time:    TimeRule{From: Header("X-Twilio-Email-Event-Webhook-Timestamp")},
		Type:    JSON("0", "event"),
	}).secretIs("the verification key, base64"),
	"discord": row("Discord", VendorCode, Scheme{
		Signature: Header("X-Signature-Ed25519"),
		Algorithm: Ed25519, Encoding: Hex, Secret: HexSecret,
		Message: []Part{Timestamp, Body},
		Time:    TimeRule{From: Header("X-Signature-Timestamp")},
		Type:    FirstOf(JSON("event", "type"), JSON("type")), ID: JSON("id"), OrderingKey: JSON("channel_id"),
	}),
	"telnyx": row("Telnyx", VendorCode, Scheme{
		Signature: Header("Telnyx-Signature-Ed25519"),
		Algorithm: Ed25519, Encoding: Base64, Secret: Base64Secret,
		Message: []Part{Timestamp, Text("|"), Body},
		Time:    TimeRule{From: Header("Telnyx-Timestamp"), Tolerance: 5 * time.Minute},
		Type:    JSON("data", "event_type"), ID: JSON("data", "id"),
		OrderingKey: FirstOf(JSON("data", "payload", "call_session_id"), JSON("data", "payload", "id")),
	}),
	"mailgun": row("Mailgun", VendorCode, signsMailgun()),
	"line": row("LINE", VendorCode, signsBody("X-Line-Signature", HMACSHA256, Base64).chosen().
		typeFrom(JSON("events", "0", "type"))),
	"pusher": row("Pusher Channels", VendorCode, signsBody("X-Pusher-Signature", HMACSHA256, Hex).chosen().
		typeFrom(JSON("events", "0", "name"))).
		settings(pusherKey, Setting{Name: "key", Required: true, Doc: "the key of the application, which the secret belongs to"}),

	// It leaves Meta with everything outside ASCII escaped; the bytes as sent are signed.
	"meta":     row("Meta (Graph, Messenger, Instagram)", ThirdParty, signsMeta()),
	"whatsapp": row("WhatsApp (Meta)", ThirdParty, signsMeta()),
	"telegram": row("Telegram bots", ThirdParty, showsToken("X-Telegram-Bot-Api-Secret-Token", "").chosen().
		idFrom(JSON("update_id"))).secretIs("the `secret_token` that setWebhook was given"),
	"x":        row("X (Twitter)", ThirdParty, signsBody("X-Twitter-Webhooks-Signature", HMACSHA256, Base64).after("sha256=")),
	"tiktok":   row("TikTok", ThirdParty, signsPairs("TikTok-Signature", "t", "s").typeFrom(JSON("event"))),
	"linkedin": row("LinkedIn", ThirdParty, signsBody("X-LI-Signature", HMACSHA256, Hex).over(Text("hmacsha256="), Body)),
	"microsoft-teams": row("Microsoft Teams (outgoing)", ThirdParty,
		signsBody("Authorization", HMACSHA256, Base64).after("HMAC ").under(Base64Secret).
			typeFrom(JSON("type")).orderBy(JSON("conversation", "id"))),

	"front": row("Front", ThirdParty, signsBody("X-Front-Signature", HMACSHA256, Base64).
		over(Timestamp, Text(":"), Body).timeFrom(Header("X-Front-Request-Timestamp"), Milliseconds).
		typeFrom(JSON("type")).idFrom(JSON("id"))),
	"sinch": row("Sinch", ThirdParty, signsBody("X-Sinch-Webhook-Signature", HMACSHA256, Base64).
		over(Body, Text("."), Header("X-Sinch-Webhook-Signature-Nonce"), Text("."), Timestamp).
		timeFrom(Header("X-Sinch-Webhook-Signature-Timestamp"), Seconds)),
	// The units of these timestamps are not known: they are signed as they stand.
	"klaviyo": row("Klaviyo", ThirdParty, signsBody("Klaviyo-Signature", HMACSHA256, Hex).over(Body, Header("Klaviyo-Timestamp"))),
	"lob": row("Lob", ThirdParty, signsBody("Lob-Signature", HMACSHA256, Hex).
		over(Header("Lob-Signature-Timestamp"), Text("."), Body).typeFrom(JSON("event_type", "id")).idFrom(JSON("id"))),
	"airship": row("Airship", ThirdParty, signsBody("X-UA-Signature", HMACSHA256, Hex).over(Header("X-UA-Timestamp"), Text(":"), Body)),
	"nylas": row("Nylas", ThirdParty, signsBody("X-Nylas-Signature", HMACSHA256, Hex).
		typeFrom(JSON("type")).idFrom(JSON("id"))),
	"postmark": row("Postmark", ThirdParty, showsBasic().
		typeFrom(JSON("RecordType")).orderBy(JSON("MessageID"))),
}

// signsVersioned is "v0=xxx" over "v0:", the time, a colon and the body.
func signsVersioned(header, stamp string) Scheme {
	return signsBody(header, HMACSHA256, Hex).after("v0=").
		over(Text("v0:"), Timestamp, Text(":"), Body).timeFrom(Header(stamp), Seconds)
}

// signsCustomerIO is the same without the prefix.
func signsCustomerIO() Scheme { return signsVersioned("X-CIO-Signature", "X-CIO-Timestamp").after("") }

func signsTwitch() Scheme {
	return signsBody("Twitch-Eventsub-Message-Signature", HMACSHA256, Hex).after("sha256=").
		over(Header("Twitch-Eventsub-Message-Id"), Timestamp, Body).
		timeFrom(Header("Twitch-Eventsub-Message-Timestamp"), RFC3339).within(10 * time.Minute)
}

func signsMeta() Scheme {
	return signsBody("X-Hub-Signature-256", HMACSHA256, Hex).after("sha256=").
		typeFrom(Join(".", JSON("object"), JSON("entry", "0", "changes", "0", "field")))
}

// signsMailgun covers the time and a token for one use, which is therefore the ID; what happened is not covered. Old
// webhooks have the same in the fields of a form.
func signsMailgun() Scheme {
	s := Scheme{
		Signature: JSON("signature", "signature"), Algorithm: HMACSHA256, Encoding: Hex, Secret: TextSecret,
		Message: []Part{Timestamp, JSON("signature", "token")},
		Time:    TimeRule{From: JSON("signature", "timestamp")},
		Type:    JSON("event-data", "event"), ID: JSON("signature", "token"),
	}
	old := s
	old.Signature, old.Time.From = Form("signature"), Form("timestamp")
	old.Message = []Part{Timestamp, Form("token")}
	old.Type, old.ID = Form("event"), Form("token")
	s.Otherwise = &old
	return s
}

func pusherKey(s *Scheme, given map[string]string) error {
	s.Require = []Match{{Header("X-Pusher-Key"), given["key"]}}
	return nil
}
