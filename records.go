package hookgate

import (
	"github.com/hookgate/hookgate/retry"
	"github.com/hookgate/hookgate/signing"
	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/transform"
)

// The records that a store keeps and the parts that can be swapped live in packages of their own, so that a store or a
// signer can be written without knowing the gateway. Here they are again under the names that applications use.
type (
	// Event is something that happened; never edited; keeps its ID for life.
	Event = store.Event
	// Delivery is one event on its way to one destination: the one record that changes.
	Delivery = store.Delivery
	// Attempt is one try of a delivery; never edited.
	Attempt = store.Attempt
	// ID names an event.
	ID = store.ID
	// DeliveryID names a delivery: its event and a number.
	DeliveryID = store.DeliveryID
	// Destination is where a delivery ends: an endpoint ("ep:" and its ID) or a handler ("fn:" and its name).
	Destination = store.Destination
	// State is where a delivery stands.
	State = store.State

	// Store keeps everything. Open makes the default one, a folder.
	Store = store.Store
	// Signer makes the signature headers of an attempt.
	Signer = signing.Signer
	// Secret is a signing secret; it prints as REDACTED.
	Secret = signing.Secret
	// Verifier proves who sent an inbound request.
	Verifier = signing.Verifier
	// Transformer makes the message that one destination gets out of the event as it was accepted.
	Transformer = transform.Transformer
	// RetryPolicy says when a failed delivery may be tried again.
	RetryPolicy = retry.Policy

	// EventQuery and DeliveryQuery ask for events and deliveries; Page is a part of the answer, Stats are counts.
	EventQuery    = store.EventQuery
	DeliveryQuery = store.DeliveryQuery
	Paging        = store.Paging
	Stats         = store.Stats
)

// The states of a delivery.
const (
	Pending   = store.Pending
	Leased    = store.Leased
	Done      = store.Done
	Dead      = store.Dead
	Cancelled = store.Cancelled
)

// AllTenants in a query means every tenant. An empty tenant means the events that have none.
const AllTenants = store.AllTenants
