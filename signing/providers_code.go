package signing

import "time"

// Providers around code: where it is kept, built, run and watched.
var codeRows = map[string]provider{
	// The old X-Hub-Signature with SHA-1 is not taken.
	"github": row("GitHub", VendorCode, signsBody("X-Hub-Signature-256", HMACSHA256, Hex).after("sha256=").
		typeFrom(Join(".", Header("X-GitHub-Event"), JSON("action"))).idFrom(Header("X-GitHub-Delivery")).
		orderBy(inRepository("issue", "pull_request"))),
	"gitlab-token": row("GitLab (secret token)", ThirdParty, showsToken("X-Gitlab-Token", "").chosen().
		typeFrom(Header("X-Gitlab-Event")).idFrom(FirstOf(Header("Idempotency-Key"), Header("X-Gitlab-Event-UUID"))).
		orderBy(inProject())),
	"bitbucket": row("Bitbucket", VendorDocs, signsBody("X-Hub-Signature", HMACSHA256, Hex).after("sha256=").chosen().
		typeFrom(Header("X-Event-Key")).idFrom(Header("X-Request-UUID")).
		orderBy(Optional(JSON("repository", "full_name"), Text("#"), FirstOf(JSON("pullrequest", "id"), JSON("issue", "id"))))),
	"jira": row("Jira", VendorDocs, signsBody("X-Hub-Signature", HMACSHA256, Hex).after("sha256=").chosen().
		typeFrom(JSON("webhookEvent")).idFrom(Header("X-Atlassian-Webhook-Identifier")).orderBy(JSON("issue", "key"))),
	"gogs": row("Gogs", ThirdParty, signsBody("X-Gogs-Signature", HMACSHA256, Hex).chosen().
		typeFrom(Header("X-Gogs-Event")).idFrom(Header("X-Gogs-Delivery")).orderBy(inRepository("issue", "pull_request"))),
	"gitea": row("Gitea", ThirdParty, signsBody("X-Gitea-Signature", HMACSHA256, Hex).chosen().
		typeFrom(Header("X-Gitea-Event")).idFrom(Header("X-Gitea-Delivery")).orderBy(inRepository("issue", "pull_request"))),
	"linear": row("Linear", VendorCode, signsBody("Linear-Signature", HMACSHA256, Hex).chosen().
		// The time is in the body, which is signed; the header of the same name is not.
		timeFrom(JSON("webhookTimestamp"), Milliseconds).within(time.Minute).
		typeFrom(Join(".", JSON("type"), JSON("action"))).idFrom(Header("Linear-Delivery")).orderBy(JSON("data", "id"))),

	// Both have a list of versions; the others than v1 are for others.
	"pagerduty": row("PagerDuty (v3)", VendorCode, signsVersions("X-PagerDuty-Signature").filled().
		typeFrom(JSON("event", "event_type")).idFrom(JSON("event", "id")).orderBy(JSON("event", "data", "id"))),
	"circleci": row("CircleCI", VendorDocs, signsVersions("Circleci-Signature").chosen().
		typeFrom(JSON("type")).idFrom(JSON("id")).orderBy(JSON("pipeline", "id"))),

	"buildkite": row("Buildkite (signature)", VendorDocs, signsPairs("X-Buildkite-Signature", "timestamp", "signature").
		typeFrom(Header("X-Buildkite-Event")).orderBy(JSON("build", "id"))),
	"buildkite-token": row("Buildkite (token)", VendorDocs, showsToken("X-Buildkite-Token", "").
		typeFrom(Header("X-Buildkite-Event")).orderBy(JSON("build", "id"))),
	"sentry": row("Sentry", ThirdParty, signsBody("Sentry-Hook-Signature", HMACSHA256, Hex).
		typeFrom(Join(".", Header("Sentry-Hook-Resource"), JSON("action"))).idFrom(Header("Request-ID"))),
	"vercel": row("Vercel", ThirdParty, signsBody("X-Vercel-Signature", HMACSHA1, Hex).
		typeFrom(JSON("type")).idFrom(JSON("id"))),
	"heroku": row("Heroku", ThirdParty, signsBody("Heroku-Webhook-Hmac-SHA256", HMACSHA256, Base64).
		typeFrom(JSON("webhook_metadata", "event", "include"))),
	"launchdarkly": row("LaunchDarkly", ThirdParty, signsBody("X-LD-Signature", HMACSHA256, Hex).
		typeFrom(JSON("kind")).idFrom(JSON("_id"))),
	"mongodb-atlas": row("MongoDB Atlas", ThirdParty, signsBody("X-MMS-Signature", HMACSHA1, Base64)),
	"autodesk":      row("Autodesk Platform Services", ThirdParty, signsBody("X-Adsk-Signature", HMACSHA1, Hex).after("sha1hash=")),
	"sanity": row("Sanity", VendorCode, signsSanity().chosen().
		idFrom(Header("Idempotency-Key"))),
	"webflow": row("Webflow", VendorCode, signsBody("X-Webflow-Signature", HMACSHA256, Hex).
		over(Timestamp, Text(":"), Body).timeFrom(Header("X-Webflow-Timestamp"), Milliseconds).typeFrom(JSON("triggerType"))),
	"mux": row("Mux", VendorCode, signsPairs("Mux-Signature", "t", "v1").within(5*time.Minute).chosen().
		typeFrom(JSON("type")).idFrom(JSON("id")).orderBy(JSON("object", "id"))),
	"elevenlabs": row("ElevenLabs", VendorCode, signsPairs("ElevenLabs-Signature", "t", "v0").within(30*time.Minute).chosen().
		typeFrom(JSON("type"))),
	"workos": row("WorkOS", VendorCode, signsPairs("WorkOS-Signature", "t", "v1").chosen().
		timeFrom(Entry("t"), Milliseconds).within(3*time.Minute).
		typeFrom(JSON("event")).idFrom(JSON("id")).orderBy(JSON("data", "id"))),
	"okta": row("Okta (event hooks)", ThirdParty, showsToken("Authorization", "").
		typeFrom(JSON("data", "events", "0", "eventType")).idFrom(JSON("eventId"))).
		settings(otherHeader, headerSetting),
	"microsoft-graph": row("Microsoft Graph", ThirdParty, Scheme{
		// One request has many notifications, each with the token.
		Signature: JSON("value", "*", "clientState"), Algorithm: Token, Encoding: Raw, Secret: TextSecret,
		Type: FirstOf(JSON("value", "0", "changeType"), JSON("value", "0", "lifecycleEvent")), OrderingKey: JSON("value", "0", "resource"),
	}).secretIs("the `clientState` that the subscription was made with"),
	"deepgram": row("Deepgram", ThirdParty, showsToken("Dg-Token", "")),
}

// inRepository orders what happens to one thing in a repository, such as an issue or a branch.
func inRepository(things ...string) Part {
	numbers := make([]Part, 0, len(things)+1)
	for _, thing := range things {
		numbers = append(numbers, JSON(thing, "number"))
	}
	return Optional(JSON("repository", "full_name"), Text("#"), FirstOf(append(numbers, JSON("ref"))...))
}

// inProject is the same of GitLab.
func inProject() Part {
	return Optional(JSON("project", "path_with_namespace"), Text("#"), FirstOf(JSON("object_attributes", "iid"), JSON("ref")))
}

// signsVersions is "v1=xxx,v1=yyy", each an HMAC-SHA256 of the body in hex.
func signsVersions(header string) Scheme {
	s := signsBody(header, HMACSHA256, Hex)
	s.Format, s.Tags = Pairs, []Tag{{Name: "v1"}}
	return s
}

// signsSanity is Stripe's form in base64url, with milliseconds that Sanity does not compare.
func signsSanity() Scheme {
	s := signsPairs("Sanity-Webhook-Signature", "t", "v1").timeFrom(Entry("t"), Milliseconds)
	s.Encoding = Base64URL
	return s
}

var headerSetting = Setting{Name: "header", Doc: "the header in which the provider was told to send it; empty means the usual one"}

// otherHeader moves the signature into the header of the setting.
func otherHeader(s *Scheme, given map[string]string) error {
	if given["header"] == "" {
		return nil
	}
	return s.moveTo(given["header"])
}
