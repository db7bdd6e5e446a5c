// Package memory keeps everything in memory: the store for tests, and for programs that may lose everything when they end.
//
// It is package kvstore over an ordered map, so it keeps every rule of the contract that the durable stores keep, except
// that nothing outlives the process.
package memory

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/hookgate/hookgate/store"
	"github.com/hookgate/hookgate/store/kvstore"
)

// New makes an empty store. Close it when it is no longer used; what it held is then gone.
func New() (store.Store, error) {
	return Open(NewMap())
}

// Open makes a store over a map that may hold one already. It is how tests see what a store leaves behind: close it, and
// open another over the same map.
func Open(m *Map) (store.Store, error) {
	return kvstore.New(m, nil)
}

// Map is an ordered key-value engine in memory, the smallest that package kvstore works with. NewMap makes one. It is safe
// for concurrent use. Close does nothing, so that a map can be opened again.
//
// The map is a tree whose nodes never change: an Update makes new ones along its path and then shows them all at once, and
// a View simply holds on to the tree that it found.
type Map struct {
	writing sync.Mutex
	root    atomic.Pointer[node]
	random  uint64 // of the tree's shape; guarded by writing
}

// NewMap makes an empty map.
func NewMap() *Map { return &Map{random: 0x9e3779b97f4a7c15} }

// Update runs fn; what it wrote is seen when it returns nil, and only then.
func (m *Map) Update(ctx context.Context, fn func(kvstore.Writer) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.writing.Lock()
	defer m.writing.Unlock()
	w := &writer{reader{m.root.Load()}, m}
	if err := fn(w); err != nil {
		return err
	}
	m.root.Store(w.root)
	return nil
}

// View runs fn over the map as it is now.
func (m *Map) View(ctx context.Context, fn func(kvstore.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(reader{m.root.Load()})
}

// Close does nothing.
func (m *Map) Close() error { return nil }

// node is a node of a treap: ordered by key, and a heap by weight, which keeps it flat.
type node struct {
	key, value  string
	weight      uint64
	left, right *node
}

type reader struct{ root *node }

func (r reader) Get(key []byte) []byte {
	for n := r.root; n != nil; {
		switch k := string(key); {
		case k < n.key:
			n = n.left
		case k > n.key:
			n = n.right
		default:
			return []byte(n.value)
		}
	}
	return nil
}

func (r reader) Scan(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) { ascend(r.root, string(from), string(to), yield) }
}

func (r reader) ScanBack(from, to []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func([]byte, []byte) bool) { descend(r.root, string(from), string(to), yield) }
}

func ascend(n *node, from, to string, yield func([]byte, []byte) bool) bool {
	if n == nil {
		return true
	}
	if n.key > from && !ascend(n.left, from, to, yield) {
		return false
	}
	if n.key >= from && n.key < to && !yield([]byte(n.key), []byte(n.value)) {
		return false
	}
	return n.key >= to || ascend(n.right, from, to, yield)
}

func descend(n *node, from, to string, yield func([]byte, []byte) bool) bool {
	if n == nil {
		return true
	}
	if n.key < to && !descend(n.right, from, to, yield) {
		return false
	}
	if n.key >= from && n.key < to && !yield([]byte(n.key), []byte(n.value)) {
		return false
	}
	return n.key < from || descend(n.left, from, to, yield)
}

type writer struct {
	reader
	m *Map
}

func (w *writer) Put(key, value []byte) error {
	w.m.random ^= w.m.random << 13
	w.m.random ^= w.m.random >> 7
	w.m.random ^= w.m.random << 17
	w.root = insert(w.root, &node{key: string(key), value: string(value), weight: w.m.random})
	return nil
}

func (w *writer) Delete(key []byte) error {
	w.root = remove(w.root, string(key))
	return nil
}

// insert puts a new node into a tree and answers the new tree.
func insert(n, x *node) *node {
	switch {
	case n == nil:
		return x
	case x.key == n.key:
		return &node{x.key, x.value, n.weight, n.left, n.right}
	case x.weight > n.weight && !has(n, x.key):
		x.left, x.right = split(n, x.key)
		return x
	}
	c := *n
	if x.key < n.key {
		c.left = insert(n.left, x)
	} else {
		c.right = insert(n.right, x)
	}
	return &c
}

func has(n *node, key string) bool {
	for n != nil {
		switch {
		case key < n.key:
			n = n.left
		case key > n.key:
			n = n.right
		default:
			return true
		}
	}
	return false
}

// split parts a tree at a key that it does not hold.
func split(n *node, key string) (less, more *node) {
	if n == nil {
		return nil, nil
	}
	c := *n
	if n.key < key {
		c.right, more = split(n.right, key)
		return &c, more
	}
	less, c.left = split(n.left, key)
	return less, &c
}

func remove(n *node, key string) *node {
	if n == nil {
		return nil
	}
	if key == n.key {
		return join(n.left, n.right)
	}
	c := *n
	if key < n.key {
		if c.left = remove(n.left, key); c.left == n.left {
			return n
		}
	} else {
		if c.right = remove(n.right, key); c.right == n.right {
			return n
		}
	}
	return &c
}

// join makes one tree of two, of which the first has the smaller keys.
func join(a, b *node) *node {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		c := *a
		c.right = join(a.right, b)
		return &c
	}
	c := *b
	c.left = join(a, b.left)
	return &c
}

// Clone makes a map with the same content, which later changes of either leave alone.
func (m *Map) Clone() *Map {
	m.writing.Lock()
	defer m.writing.Unlock()
	c := &Map{random: m.random}
	c.root.Store(m.root.Load())
	return c
}
