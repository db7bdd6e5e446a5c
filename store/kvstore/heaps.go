package kvstore

import (
	"container/heap"
	"time"

	"github.com/hookgate/hookgate/store"
)

// deque is a queue that also takes things at its front. The zero value is empty.
type deque[T any] struct {
	buf  []T // its length is a power of two
	head int
	n    int
}

func (d *deque[T]) len() int { return d.n }

// at is the index of what stands i places behind the front.
func (d *deque[T]) at(i int) int { return (d.head + i) & (len(d.buf) - 1) }

func (d *deque[T]) grow() {
	if d.n < len(d.buf) {
		return
	}
	buf := make([]T, max(4, 2*len(d.buf)))
	for i := range d.n {
		buf[i] = d.buf[d.at(i)]
	}
	d.buf, d.head = buf, 0
}

func (d *deque[T]) push(v T) {
	d.grow()
	d.buf[d.at(d.n)] = v
	d.n++
}

func (d *deque[T]) pushFront(v T) {
	d.grow()
	d.head = d.at(len(d.buf) - 1)
	d.buf[d.head] = v
	d.n++
}

func (d *deque[T]) pop() T {
	var zero T
	v := d.buf[d.head]
	d.buf[d.head] = zero
	d.head = d.at(1)
	d.n--
	if d.n == 0 {
		d.head = 0
	}
	return v
}

// each calls fn for everything in it, the front first.
func (d *deque[T]) each(fn func(T)) {
	for i := range d.n {
		fn(d.buf[d.at(i)])
	}
}

type dueHeap []dueItem

func (h dueHeap) Len() int { return len(h) }
func (h dueHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].at.before(h[j].at)
	}
	return h[i].due.Before(h[j].due)
}
func (h dueHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)   { *h = append(*h, x.(dueItem)) }
func (h *dueHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	*h = old[:len(old)-1]
	return v
}

// wake is a time at which a queue's class, or all of a destination, is to be looked at.
type wake struct {
	at    time.Time
	queue *queue // nil: dest
	dest  *dest
	class store.Class
}

type wakeHeap []wake

func (h wakeHeap) Len() int           { return len(h) }
func (h wakeHeap) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h wakeHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wakeHeap) Push(x any)        { *h = append(*h, x.(wake)) }
func (h *wakeHeap) Pop() any {
	old := *h
	v := old[len(old)-1]
	*h = old[:len(old)-1]
	return v
}

// expiryHeap orders leases by their end.
type expiryHeap []*lease

func (h expiryHeap) Len() int           { return len(h) }
func (h expiryHeap) Less(i, j int) bool { return h[i].until.Before(h[j].until) }
func (h expiryHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *expiryHeap) Push(x any) {
	l := x.(*lease)
	l.index = len(*h)
	*h = append(*h, l)
}

func (h *expiryHeap) Pop() any {
	old := *h
	l := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return l
}

func (h *expiryHeap) add(l *lease) { heap.Push(h, l) }

func (h *expiryHeap) fix(l *lease) {
	if l.index >= 0 {
		heap.Fix(h, l.index)
	}
}

func (h *expiryHeap) remove(i int) {
	n := len(*h) - 1
	if i != n {
		h.Swap(i, n)
	}
	l := (*h)[n]
	(*h)[n] = nil
	*h = (*h)[:n]
	l.index = -1
	if i < n {
		heap.Fix(h, i)
	}
}
