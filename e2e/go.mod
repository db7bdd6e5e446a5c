module github.com/hookgate/hookgate/e2e

go 1.26.0

require (
	github.com/hookgate/hookgate v0.0.0
	github.com/standard-webhooks/standard-webhooks/libraries v0.0.1
	github.com/stripe/stripe-go/v82 v82.5.1
	github.com/svix/svix-webhooks v1.44.0
)

require gopkg.in/validator.v2 v2.0.1 // indirect

replace github.com/hookgate/hookgate => ..
