package signing

// Providers that sign as Standard Webhooks has it, or nearly.
var standardRows = map[string]provider{
	"standard": row("Standard Webhooks", VendorCode, signsStandard("Webhook-")),
	"svix":     row("Svix", VendorCode, signsSvix()),
	"gitlab": row("GitLab (signing token)", VendorDocs, signsStandard("Webhook-").
		typeFrom(Header("X-Gitlab-Event")).orderBy(inProject())),

	// The three that read a secret another way than the standard does, and know no version 1a.
	"openai":    row("OpenAI", VendorCode, signsHMAC().under(StandardOrText)),
	"replicate": row("Replicate", VendorCode, signsHMAC().under(TailSecret).typeFrom(JSON("status")).orderBy(JSON("id"))),
	"polar":     row("Polar", VendorCode, signsHMAC().under(TextSecret)),

	"clerk":       row("Clerk", ThirdParty, signsSvix().orderBy(JSON("data", "id"))),
	"resend":      row("Resend", VendorCode, signsSvix().orderBy(JSON("data", "email_id"))),
	"stytch":      row("Stytch", ThirdParty, signsSvix()),
	"vanta":       row("Vanta", ThirdParty, signsSvix()),
	"supabase":    row("Supabase (auth hooks)", ThirdParty, signsStandard("Webhook-")),
	"render":      row("Render", ThirdParty, signsStandard("Webhook-")),
	"brex":        row("Brex", ThirdParty, signsStandard("Webhook-")),
	"etsy":        row("Etsy", ThirdParty, signsStandard("Webhook-")),
	"incident-io": row("incident.io", ThirdParty, signsStandard("Webhook-")),
	"gemini":      row("Gemini (static webhooks)", ThirdParty, signsStandard("Webhook-")),
}

// signsHMAC is version 1 alone.
func signsHMAC() Scheme { return signsStandard("Webhook-").tagged(Tag{"v1", HMACSHA256}) }
