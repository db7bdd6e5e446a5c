// Package e2e checks hookgate against the libraries that senders and receivers use: what one side signs, the other
// accepts, and what was changed on its way, both refuse.
//
// It is a module of its own, so that none of those libraries reaches users, and it is never released. Those for Node are
// installed once, from testdata/node/package-lock.json, into the folder .node.
package e2e
