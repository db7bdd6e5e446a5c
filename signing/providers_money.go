package signing

import "time"

// Providers of payments, banking, shops and bills.
var moneyRows = map[string]provider{
	// The whole text of the secret is the key, "whsec_" included. Only the age is limited, as in Stripe's own library.
	"stripe": row("Stripe", VendorCode, signsStripe().
		typeFrom(JSON("type")).idFrom(JSON("id")).orderBy(JSON("data", "object", "id"))),
	"shopify": row("Shopify", VendorCode, signsBody("X-Shopify-Hmac-Sha256", HMACSHA256, Base64).filled().
		typeFrom(Header("X-Shopify-Topic")).idFrom(Header("X-Shopify-Webhook-Id")).orderBy(JSON("id"))),
	"square": row("Square", VendorCode, signsBody("X-Square-Hmacsha256-Signature", HMACSHA256, Base64).over(URL, Body).
		typeFrom(JSON("type")).idFrom(JSON("event_id")).orderBy(JSON("data", "id"))),
	"paddle": row("Paddle Billing", VendorCode, signsPaddle().
		typeFrom(JSON("event_type")).idFrom(JSON("event_id")).orderBy(JSON("data", "id"))),
	// For the platform's banking and management webhooks; payments have a form of their own.
	"adyen-banking": row("Adyen (banking, management)", VendorCode, signsBody("HmacSignature", HMACSHA256, Base64).
		under(HexSecret).typeFrom(JSON("type"))),
	"razorpay": row("Razorpay", VendorCode, signsBody("X-Razorpay-Signature", HMACSHA256, Hex).chosen().
		typeFrom(JSON("event")).idFrom(Header("X-Razorpay-Event-Id"))),
	"coinbase-commerce": row("Coinbase Commerce", VendorCode, signsBody("X-CC-Webhook-Signature", HMACSHA256, Hex).
		typeFrom(JSON("event", "type")).idFrom(JSON("event", "id")).orderBy(JSON("event", "data", "id"))),
	// A request has many events; meta.webhook_id names the request.
	"gocardless": row("GoCardless", VendorCode, signsBody("Webhook-Signature", HMACSHA256, Hex).
		typeFrom(Join(".", JSON("events", "0", "resource_type"), JSON("events", "0", "action"))).idFrom(JSON("meta", "webhook_id"))),
	"mollie": row("Mollie", VendorCode, signsMollie().chosen().
		typeFrom(JSON("event_type")).idFrom(JSON("id")).orderBy(JSON("entity_id"))),

	"xero": row("Xero", ThirdParty, signsBody("X-Xero-Signature", HMACSHA256, Base64).
		typeFrom(JSON("events", "0", "eventType"))).
		secretIs("the webhook key as it stands; it looks like base64 and is not decoded"),
	"woocommerce": row("WooCommerce", ThirdParty, signsBody("X-WC-Webhook-Signature", HMACSHA256, Base64).
		typeFrom(Header("X-WC-Webhook-Topic")).idFrom(Header("X-WC-Webhook-Delivery-ID")).orderBy(JSON("id"))),
	"lemon-squeezy": row("Lemon Squeezy", ThirdParty, signsBody("X-Signature", HMACSHA256, Hex).chosen().
		typeFrom(FirstOf(Header("X-Event-Name"), JSON("meta", "event_name"))).orderBy(JSON("data", "id"))),
	"recurly":   row("Recurly", ThirdParty, signsRecurly()),
	"airwallex": row("Airwallex", ThirdParty, signsBody("X-Signature", HMACSHA256, Hex).over(Header("X-Timestamp"), Body).typeFrom(JSON("name")).idFrom(JSON("id"))),
	"affirm":    row("Affirm", ThirdParty, signsAffirm()),
	"shippo":    row("Shippo", ThirdParty, signsPairs("Shippo-Auth-Signature", "t", "v1").typeFrom(JSON("event"))),
	"paystack":  row("Paystack", ThirdParty, signsBody("X-Paystack-Signature", HMACSHA512, Hex).typeFrom(JSON("event"))),
	"authorize-net": row("Authorize.Net", ThirdParty, signsBody("X-ANET-Signature", HMACSHA512, Hex).after("sha512=").
		under(HexSecret).typeFrom(JSON("eventType")).idFrom(JSON("notificationId"))),
	"onfleet": row("Onfleet", ThirdParty, signsBody("X-Onfleet-Signature", HMACSHA512, Hex).under(HexSecret).
		orderBy(JSON("taskId"))),
	"squarespace": row("Squarespace", ThirdParty, signsBody("Squarespace-Signature", HMACSHA256, Hex).under(HexSecret).
		typeFrom(JSON("topic")).idFrom(JSON("id"))),
	"mercado-pago": row("Mercado Pago", ThirdParty, signsMercadoPago().
		typeFrom(FirstOf(JSON("action"), JSON("type")))),
	"quickbooks": row("QuickBooks", ThirdParty, signsBody("Intuit-Signature", HMACSHA256, Base64)),
	"dwolla": row("Dwolla", ThirdParty, signsBody("X-Request-Signature-SHA-256", HMACSHA256, Hex).chosen().
		typeFrom(JSON("topic")).idFrom(JSON("id")).orderBy(JSON("resourceId"))),
	"checkout-com": row("Checkout.com", ThirdParty, signsBody("Cko-Signature", HMACSHA256, Hex).
		typeFrom(JSON("type")).idFrom(JSON("id")).orderBy(JSON("data", "id"))),
	"modern-treasury": row("Modern Treasury", ThirdParty, signsBody("X-Signature", HMACSHA256, Hex).
		typeFrom(Join(".", Header("X-Topic"), JSON("event"))).idFrom(Header("X-Webhook-ID"))),
	"chargify": row("Chargify (Maxio)", ThirdParty, signsBody("X-Chargify-Webhook-Signature-Hmac-Sha-256", HMACSHA256, Hex).
		typeFrom(FirstOf(Form("event"), JSON("event"))).idFrom(Header("X-Chargify-Webhook-Id"))),
	"chargebee": row("Chargebee", ThirdParty, showsBasic().
		typeFrom(JSON("event_type")).idFrom(JSON("id"))),
}

func signsStripe() Scheme {
	s := signsPairs("Stripe-Signature", "t", "v1").within(5 * time.Minute)
	s.Time.AgeOnly = true
	return s
}

func signsPaddle() Scheme {
	s := signsPairs("Paddle-Signature", "ts", "h1").over(Timestamp, Text(":"), Body).within(5 * time.Second)
	s.Separator = ";"
	return s
}

// signsMollie takes every value of the header, and a value without its prefix, as Mollie's own library does.
func signsMollie() Scheme {
	s := signsBody("X-Mollie-Signature", HMACSHA256, Hex).after("sha256=")
	s.PrefixOptional, s.AnyValue = true, true
	return s
}

// signsRecurly is "1700000000,xxx,yyy": a signature for each key.
func signsRecurly() Scheme {
	s := signsBody("Recurly-Signature", HMACSHA256, Hex).over(Timestamp, Text("."), Body).
		timeFrom(Entry("0"), Seconds).within(5 * time.Minute)
	s.Format = Positional
	return s
}

func signsAffirm() Scheme {
	s := signsPairs("X-Affirm-Signature", "t", "v0")
	s.Algorithm = HMACSHA512
	return s
}

// signsMercadoPago covers the ID of what changed and of the request, those that are there, and the time, in seconds or
// milliseconds; not the body.
func signsMercadoPago() Scheme {
	s := signsPairs("X-Signature", "ts", "v1").over(
		Optional(Text("id:"), Lower(Query("data.id")), Text(";")),
		Optional(Text("request-id:"), Header("X-Request-Id"), Text(";")),
		Text("ts:"), Entry("ts"), Text(";"))
	s.Time = TimeRule{}
	s.ID, s.OrderingKey = Header("X-Request-Id"), Query("data.id")
	return s
}
