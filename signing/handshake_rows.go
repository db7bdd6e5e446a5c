package signing

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// handshakesOf are the handshakes of the catalogue, by the provider's name, as its own documentation has them. They are
// added to those of the provider's row.
var handshakesOf = map[string]handshakeRow{
	"meta":     metaHandshake,
	"whatsapp": metaHandshake,

	"dropbox":         {shakes: []Handshake{echoQuery("challenge")}},
	"nylas":           {shakes: []Handshake{echoQuery("challenge")}},
	"onfleet":         {shakes: []Handshake{echoQuery("check")}},
	"x":               {shakes: []Handshake{crc}},
	"convoy":          {shakes: []Handshake{crc}},
	"convoy-advanced": {shakes: []Handshake{crc}},
	"linkedin":        {shakes: []Handshake{linkedIn}},
	"okta":            {shakes: []Handshake{{Method: http.MethodGet, Challenge: Header("X-Okta-Verification-Challenge"), Members: []Member{{Name: "verification"}}}}},
	"ebay":            {settings: ebaySettings, make: ebayHandshakes},
	"trello":          {shakes: []Handshake{head}},
	"intercom":        {shakes: []Handshake{head}},
	"microsoft-graph": {shakes: []Handshake{{Challenge: Query("validationToken")}}},

	// Mandrill asks with HEAD and, where that fails, with a list of no events that it signs with a key of its own.
	"mandrill": {shakes: []Handshake{head, {When: []Match{{Form("mandrill_events"), "[]"}}, Reply: &Reply{}}}},
	// WooCommerce pings a new URL with a form of one field, not signed; its events are JSON.
	"woocommerce": {shakes: []Handshake{{Challenge: Form("webhook_id"), Unless: []Part{Header("X-WC-Webhook-Signature")}, Reply: &Reply{}}}},

	"azure-event-grid": {settings: cloudEventsSettings, make: eventGridHandshakes},
	"cloudevents":      {settings: cloudEventsSettings, make: cloudEventsHandshakes},

	// Asana brings the secret of a new webhook while the call that makes it is waiting; Notion brings a token that somebody
	// types in on its site, and signs with it from then on.
	"asana":  {shakes: []Handshake{{Challenge: Header("X-Hook-Secret"), Delivers: true, ReplyHeader: "X-Hook-Secret"}}},
	"notion": {shakes: []Handshake{{Challenge: JSON("verification_token"), Unless: []Part{JSON("type"), JSON("id")}, Delivers: true, Reply: &Reply{}}}},

	// Front's check is signed as an event is.
	"front": {shakes: []Handshake{{When: []Match{{JSON("type"), "sync"}}, Signed: true, Challenge: Header("X-Front-Challenge")}}},
	// Xero's "intent to receive" is a few signed lists of no events, some with a wrong signature.
	"xero": {shakes: []Handshake{{
		When:   []Match{{JSON("firstEventSequence"), "0"}, {JSON("lastEventSequence"), "0"}},
		Unless: []Part{JSON("events", "0", "eventType"), JSON("events", "0", "resourceId")}, Signed: true, Reply: &Reply{},
	}}},
	"discord": {shakes: discordHandshakes},
}

// handshakeRow is what is known of one provider's handshakes.
type handshakeRow struct {
	shakes   []Handshake
	settings []Setting // that its handshakes take
	make     func(settings map[string]string) ([]Handshake, error)
}

// handshakes makes the handshakes of a provider; none for those that have none. A handshake for which a setting is
// missing is among them and refuses.
func handshakes(name string, settings map[string]string) ([]Handshake, error) {
	row := handshakesOf[name]
	list := slices.Clone(row.shakes)
	if row.make != nil {
		more, err := row.make(settings)
		if err != nil {
			return nil, err
		}
		list = append(list, more...)
	}
	for i := range list {
		if list[i].Reply != nil {
			list[i].Reply = list[i].Reply.clone()
		}
	}
	return list, nil
}

// handshakeSettings lists the settings that a provider's handshakes and answers take.
func handshakeSettings(name string) []Setting {
	return slices.Concat(handshakesOf[name].settings, answersOf[name].settings)
}

var (
	// head answers a HEAD, by which some only ask whether somebody is there.
	head = Handshake{Method: http.MethodHead, Reply: &Reply{}}

	// crc is the challenge-response check of X.
	crc = Handshake{
		Method: http.MethodGet, Challenge: Query("crc_token"),
		Members: []Member{{Name: "response_token", Digest: true, Encoding: Base64, Prefix: "sha256="}},
	}

	linkedIn = Handshake{
		Method: http.MethodGet, Challenge: Query("challengeCode"),
		Members: []Member{{Name: "challengeCode"}, {Name: "challengeResponse", Digest: true, Encoding: Hex}},
	}

	// discordHandshakes: an interaction of type 1 is a PING and wants the like; a webhook event of type 0 is one too and
	// wants 204. A webhook event of type 1 is an event.
	discordHandshakes = []Handshake{
		{
			When: []Match{{JSON("type"), "1"}}, Unless: []Part{JSON("event", "type")}, Signed: true,
			Reply: &Reply{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"type":1}`)},
		},
		{
			When: []Match{{JSON("type"), "0"}}, Unless: []Part{JSON("event", "type")}, Signed: true,
			Reply: &Reply{Status: http.StatusNoContent},
		},
	}
)

// echoQuery sends a field of a GET's query back.
func echoQuery(name string) Handshake {
	return Handshake{Method: http.MethodGet, Challenge: Query(name)}
}

// tokenSetting reads a setting that holds a token; zero if it is not set.
func tokenSetting(settings map[string]string, name string, least, most int) (Secret, error) {
	text := settings[name]
	if text != "" && (len(text) < least || len(text) > most) {
		return Secret{}, fmt.Errorf("the setting %s has %d bytes; use %d to %d", name, len(text), least, most)
	}
	return NewSecret(text), nil
}

// metaHandshake: Meta asks with a GET that shows the token from the app's page.
var metaHandshake = handshakeRow{
	settings: []Setting{{
		Name: "verify_token", Secret: true,
		Doc: "the verify token that was typed in beside the callback URL, 8 bytes or more; without it Meta's check of the URL is refused",
	}},
	make: func(settings map[string]string) ([]Handshake, error) {
		secret, err := tokenSetting(settings, "verify_token", minToken, maxChallenge)
		return []Handshake{{
			Method: http.MethodGet, When: []Match{{Query("hub.mode"), "subscribe"}},
			Token: Query("hub.verify_token"), TokenSecret: secret, Challenge: Query("hub.challenge"),
		}}, err
	},
}

var ebaySettings = []Setting{
	{Name: "verification_token", Secret: true, Doc: "the verification token that eBay was given, 32 to 80 bytes; without it eBay's check of the URL is refused"},
	{Name: "endpoint", Doc: "the URL that eBay was given, exactly as it was typed in; required with verification_token"},
}

// ebayHandshakes: eBay wants the SHA-256 of its code, the token and the URL.
func ebayHandshakes(settings map[string]string) ([]Handshake, error) {
	secret, err := tokenSetting(settings, "verification_token", 32, 80)
	switch {
	case err != nil:
		return nil, err
	case !secret.IsZero() && settings["endpoint"] == "":
		return nil, errors.New("the setting endpoint is required with verification_token: eBay's check covers the URL")
	}
	return []Handshake{{
		Method: http.MethodGet, Challenge: Query("challenge_code"), TokenSecret: secret,
		Members: []Member{{Name: "challengeResponse", Encoding: Hex, Hash: []Part{Query("challenge_code"), SecretText, Text(settings["endpoint"])}}},
	}}, nil
}

var cloudEventsSettings = []Setting{
	{Name: "allowed_origins", Doc: `the origins that may send, as they name themselves in WebHook-Request-Origin, with commas between; "*" for all`},
	{Name: "allowed_rate", Doc: `how many requests a minute they may send; empty or "*": no limit`},
}

// eventGridOrigin is how Azure Event Grid names itself.
const eventGridOrigin = "eventgrid.azure.net"

// cloudEventsHandshakes is the abuse protection of CloudEvents' HTTP webhooks: OPTIONS, answered in headers.
func cloudEventsHandshakes(settings map[string]string) ([]Handshake, error) {
	var origins []string
	for origin := range strings.SplitSeq(settings["allowed_origins"], ",") {
		if origin = strings.TrimSpace(origin); origin != "" {
			origins = append(origins, origin)
		}
	}
	if origins == nil {
		origins = []string{""} // no origin is empty: all are refused
	}
	rate := settings["allowed_rate"]
	if rate == "" {
		rate = "*"
	}
	if n, err := strconv.ParseUint(rate, 10, 31); rate != "*" && (err != nil || n == 0) {
		return nil, errors.New(`the setting allowed_rate is no number of requests a minute, nor "*"`)
	}
	return []Handshake{{
		Method: http.MethodOptions, Challenge: Header("WebHook-Request-Origin"), Allowed: origins, ReplyHeader: "WebHook-Allowed-Origin",
		Reply: &Reply{Header: http.Header{"Allow": {"POST"}, "Webhook-Allowed-Rate": {rate}}},
	}}, nil
}

// eventGridHandshakes: Event Grid checks a URL with an event of its own, in its own schema, or as CloudEvents has it.
func eventGridHandshakes(settings map[string]string) ([]Handshake, error) {
	if settings["allowed_origins"] == "" {
		settings = map[string]string{"allowed_origins": eventGridOrigin, "allowed_rate": settings["allowed_rate"]}
	}
	list, err := cloudEventsHandshakes(settings)
	return append(list, Handshake{
		// With the token that its events show, which is all that Event Grid proves.
		When: []Match{{JSON("0", "eventType"), "Microsoft.EventGrid.SubscriptionValidationEvent"}}, Signed: true,
		Challenge: JSON("0", "data", "validationCode"), Members: []Member{{Name: "validationResponse"}},
	}), err
}

// answersOf are the answers that providers want for an event, where an empty 200 does not do.
var answersOf = map[string]answerRow{
	"adyen":        {reply: textReply("[accepted]")},
	"dropbox-sign": {reply: textReply("Hello API Event Received")},
	"discord": {settings: []Setting{{
		Name: "answer", Doc: `the JSON to answer an interaction with, such as {"type":5}; empty for webhook events, which want nothing`,
	}}},
}

// answerRow is the answer of one provider, or the setting "answer" that says it as JSON.
type answerRow struct {
	reply    *Reply
	settings []Setting
}

func textReply(text string) *Reply {
	return &Reply{Header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, Body: []byte(text)}
}

// eventAnswer gives the provider's answer to an event; nil for an empty 200.
func eventAnswer(name string, settings map[string]string) (*Reply, error) {
	row := answersOf[name]
	switch {
	case row.reply != nil:
		return row.reply.clone(), nil
	case len(row.settings) == 0 || settings["answer"] == "":
		return nil, nil
	}
	body := []byte(settings["answer"])
	if !json.Valid(body) {
		return nil, errors.New("the setting answer is no JSON")
	}
	return &Reply{Header: http.Header{"Content-Type": {"application/json"}}, Body: body}, nil
}
