package signing

// Senders that show a token as CloudEvents' "HTTP 1.1 Web Hooks for Event Delivery" has it: as a bearer token, or in the
// query of the URL.
var azureRows = map[string]provider{
	"cloudevents": row("CloudEvents webhooks", VendorDocs,
		showsAccessToken(FirstOf(Header("Ce-Type"), JSON("type")), FirstOf(Header("Ce-Id"), JSON("id")))).
		secretIs("the token that the sender was given, for `Authorization: Bearer` or the query field `access_token`"),
	// In its own schema Event Grid sends a list, of one event unless it was told otherwise.
	"azure-event-grid": row("Azure Event Grid", VendorDocs,
		showsAccessToken(FirstOf(JSON("0", "eventType"), Header("Ce-Type"), JSON("type")), FirstOf(JSON("0", "id"), Header("Ce-Id"), JSON("id")))).
		secretIs("the text of the query field `access_token` in the URL that Event Grid was given, or of a delivery header `Authorization: Bearer`"),
}

func showsAccessToken(kind, id Part) Scheme {
	s := showsToken("Authorization", "Bearer ").typeFrom(kind).idFrom(id)
	inQuery := s
	inQuery.Signature, inQuery.Prefix = Query("access_token"), ""
	s.Otherwise = &inQuery
	return s
}
