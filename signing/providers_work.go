package signing

import "time"

// Providers of business software: customers, documents, forms, calendars, data.
var workRows = map[string]provider{
	// A request of HubSpot's is a list of events: the type is that of the first.
	"hubspot":    row("HubSpot (v3)", VendorCode, signsHubSpot().typeFrom(JSON("0", "subscriptionType"))),
	"hubspot-v1": row("HubSpot (v1)", VendorCode, hashesHubSpot("v1", SecretText, Body).typeFrom(JSON("0", "subscriptionType"))),
	"hubspot-v2": row("HubSpot (v2)", VendorCode, hashesHubSpot("v2", SecretText, Method, URL, Body).typeFrom(JSON("0", "subscriptionType"))),
	"intercom": row("Intercom", ThirdParty, signsBody("X-Hub-Signature", HMACSHA1, Hex).after("sha1=").
		typeFrom(JSON("topic")).idFrom(JSON("id")).orderBy(JSON("data", "item", "id"))),
	"zendesk": row("Zendesk", VendorDocs, signsBody("X-Zendesk-Webhook-Signature", HMACSHA256, Base64).
		over(Timestamp, Body).timeFrom(Header("X-Zendesk-Webhook-Signature-Timestamp"), RFC3339).
		typeFrom(JSON("type")).idFrom(Header("X-Zendesk-Webhook-Invocation-Id"))),
	"docusign": row("DocuSign Connect", VendorDocs, signsNumbered("X-DocuSign-Signature").
		typeFrom(JSON("event")).orderBy(JSON("data", "envelopeId"))),
	"trello": row("Trello", VendorDocs, signsBody("X-Trello-Webhook", HMACSHA1, Base64).over(Body, URL).
		typeFrom(JSON("action", "type")).idFrom(JSON("action", "id")).orderBy(JSON("action", "data", "card", "id"))),
	"typeform": row("Typeform", ThirdParty, signsBody("Typeform-Signature", HMACSHA256, Base64).after("sha256=").chosen().
		typeFrom(JSON("event_type")).idFrom(JSON("event_id"))),
	"calendly": row("Calendly", ThirdParty, signsPairs("Calendly-Webhook-Signature", "t", "v1").within(3*time.Minute).
		typeFrom(JSON("event")).orderBy(JSON("payload", "uri"))),
	"dropbox": row("Dropbox", ThirdParty, signsBody("X-Dropbox-Signature", HMACSHA256, Hex)),
	"asana":   row("Asana", ThirdParty, signsBody("X-Hook-Signature", HMACSHA256, Hex)).secretIs("the text that Asana sent as `X-Hook-Secret`"),
	"notion": row("Notion", ThirdParty, signsBody("X-Notion-Signature", HMACSHA256, Hex).after("sha256=").
		typeFrom(JSON("type")).idFrom(JSON("id")).orderBy(JSON("entity", "id"))).
		secretIs("the verification token that Notion sent"),
	"airtable": row("Airtable", ThirdParty, signsBody("X-Airtable-Content-MAC", HMACSHA256, Hex).after("hmac-sha256=").
		under(Base64Secret).orderBy(JSON("webhook", "id"))).secretIs("the `macSecretBase64` of the webhook"),
	"persona": row("Persona", ThirdParty, signsPersona().
		typeFrom(JSON("data", "attributes", "name")).idFrom(JSON("data", "id")).
		orderBy(JSON("data", "attributes", "payload", "data", "id"))),
	"segment": row("Segment", ThirdParty, signsBody("X-Signature", HMACSHA1, Hex).typeFrom(JSON("type")).idFrom(JSON("messageId"))),
	"cal-com": row("Cal.com", ThirdParty, signsBody("X-Cal-Signature-256", HMACSHA256, Hex).chosen().
		typeFrom(JSON("triggerEvent")).orderBy(JSON("payload", "uid"))),
	"clickup": row("ClickUp", ThirdParty, signsBody("X-Signature", HMACSHA256, Hex).
		typeFrom(JSON("event")).orderBy(JSON("task_id"))),
}

// signsHubSpot is version 3. Only the age is limited, as in HubSpot's own library.
func signsHubSpot() Scheme {
	s := signsBody("X-HubSpot-Signature-v3", HMACSHA256, Base64).over(Method, URL, Body, Timestamp).
		timeFrom(Header("X-HubSpot-Request-Timestamp"), Milliseconds).within(5 * time.Minute)
	s.Time.AgeOnly = true
	return s
}

// hashesHubSpot is an old version: a bare hash with the secret in front, whose version a header names.
func hashesHubSpot(version string, message ...Part) Scheme {
	return signsBody("X-HubSpot-Signature", SHA256, Hex).over(message...).
		requires(Match{Header("X-HubSpot-Signature-Version"), version})
}

// signsNumbered has one header for each key.
func signsNumbered(header string) Scheme {
	s := signsBody(header, HMACSHA256, Base64)
	s.Format = Numbered
	return s
}

// signsPersona is Stripe's form, once for each key.
func signsPersona() Scheme {
	s := signsPairs("Persona-Signature", "t", "v1")
	s.Sets = true
	return s
}
