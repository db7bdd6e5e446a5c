package hookgate

import "context"

// Dispatcher makes one attempt. It is called by many goroutines at once.
//
// A response means that the destination answered, whatever the status. An error means that it did not; a
// *DispatchError says more. The context ends at the attempt's timeout, or when the gateway shuts down.
//
// The request belongs to this attempt alone: the dispatcher may add to its Header, and nothing that it points to is used
// again for another attempt, so a transport that is still writing when Dispatch returns does no harm. Event, Endpoint and
// Body are shared with others: they may be read, not changed.
type Dispatcher interface {
	Dispatch(ctx context.Context, r *Request) (*Response, error)
}
