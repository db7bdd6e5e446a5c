package hookgate

import (
	"cmp"
	"slices"
	"strings"

	"github.com/hookgate/hookgate/store"
)

// matches reports whether the subscription wants events of this source and type.
func (s *Subscription) matches(source, typ string) bool {
	return s.wantsSource(source) && s.wantsType(typ)
}

func (s *Subscription) wantsSource(source string) bool { return s.Source == source || s.Source == "*" }

func (s *Subscription) wantsType(typ string) bool {
	for _, t := range s.Types {
		if prefix, ok := strings.CutSuffix(t, "*"); t == typ || ok && strings.HasPrefix(typ, prefix) {
			return true
		}
	}
	return len(s.Types) == 0
}

// group is a set of destinations that an event may go to: the endpoints of a tenant, or the handlers.
//
// A small group is looked through from one end to the other; most tenants have a handful of endpoints, and an index would
// cost more memory than they do. A large one has an index from source and type to the subscriptions that ask for just that, so
// that a match costs what it finds and not what there is.
type group struct {
	targets []*target // by destination, those that are disabled too

	// version is a sum of hashes, one for each target: it says which endpoints an event was matched against, is the same in
	// every process that sees the same endpoints, and a change of one of them changes it without a look at the others.
	version uint64

	index    map[pattern][]match
	prefixes []prefixLength
}

// indexFrom is the number of targets from which on a group has an index.
const indexFrom = 16

// pattern is what a subscription asks for: a type, or all that begin with it.
type pattern struct {
	source string
	text   string
	prefix bool
}

// prefixLength is a length that prefixes in the index have, and how many do.
type prefixLength struct{ length, count int }

// match is a target and the first of its subscriptions that asks for a pattern.
type match struct {
	target *target
	sub    int
}

func byDestination(t *target, d Destination) int { return cmp.Compare(t.destination, d) }

func matchByDestination(m match, d Destination) int { return cmp.Compare(m.target.destination, d) }

// set puts a target in the place of the one with its destination; with nil, old is removed.
func (g *group) set(old, t *target) {
	if old != nil {
		g.version -= old.hash()
		g.unindex(old)
		if t == nil {
			if i, ok := slices.BinarySearchFunc(g.targets, old.destination, byDestination); ok {
				g.targets = slices.Delete(g.targets, i, i+1)
			}
		}
	}
	if t == nil {
		return
	}
	g.version += t.hash()
	if n := len(g.targets); n == 0 || g.targets[n-1].destination < t.destination {
		g.targets = append(g.targets, t)
	} else if i, ok := slices.BinarySearchFunc(g.targets, t.destination, byDestination); ok {
		g.targets[i] = t
	} else {
		g.targets = slices.Insert(g.targets, i, t)
	}
	switch {
	case g.index != nil:
		g.enter(t)
	case len(g.targets) >= indexFrom:
		g.index = make(map[pattern][]match)
		for _, t := range g.targets {
			g.enter(t)
		}
	}
}

// patterns calls fn for everything that the target asks for.
func (t *target) patterns(fn func(p pattern, sub int)) {
	if t.disabled() {
		return
	}
	for i := range t.len() {
		s := t.sub(i)
		if len(s.Types) == 0 {
			fn(pattern{s.Source, "", true}, i)
		}
		for _, typ := range s.Types {
			prefix, ok := strings.CutSuffix(typ, "*")
			fn(pattern{s.Source, prefix, ok}, i)
		}
	}
}

func (g *group) enter(t *target) {
	t.patterns(func(p pattern, sub int) {
		list := g.index[p]
		i := len(list)
		if i > 0 && list[i-1].target.destination >= t.destination {
			var ok bool
			if i, ok = slices.BinarySearchFunc(list, t.destination, matchByDestination); ok {
				return // an earlier subscription asks for the same
			}
		}
		if len(list) == 0 && p.prefix {
			g.count(len(p.text), +1)
		}
		g.index[p] = slices.Insert(list, i, match{t, sub})
	})
}

func (g *group) unindex(t *target) {
	if g.index == nil {
		return
	}
	t.patterns(func(p pattern, _ int) {
		list := g.index[p]
		i, ok := slices.BinarySearchFunc(list, t.destination, matchByDestination)
		if !ok {
			return
		}
		if list = slices.Delete(list, i, i+1); len(list) > 0 {
			g.index[p] = list
			return
		}
		delete(g.index, p)
		if p.prefix {
			g.count(len(p.text), -1)
		}
	})
}

// count notes that there is one more, or one less, prefix of a length.
func (g *group) count(length, by int) {
	i, ok := slices.BinarySearchFunc(g.prefixes, length, func(p prefixLength, n int) int { return cmp.Compare(p.length, n) })
	if !ok {
		g.prefixes = slices.Insert(g.prefixes, i, prefixLength{length, by})
		return
	}
	if g.prefixes[i].count += by; g.prefixes[i].count == 0 {
		g.prefixes = slices.Delete(g.prefixes, i, i+1)
	}
}

// match appends a delivery for each target that wants the event, by destination.
func (g *group) match(out []store.NewDelivery, ev *Event) []store.NewDelivery {
	if g.index == nil {
		for _, t := range g.targets {
			if sub := t.subscription(ev); sub != nil && !t.disabled() {
				out = append(out, newDelivery(t, sub, ev))
			}
		}
		return out
	}

	var room [8][]match
	lists := room[:0]
	look := func(text string, prefix bool) {
		if l := g.index[pattern{ev.Source, text, prefix}]; len(l) > 0 {
			lists = append(lists, l)
		}
		if l := g.index[pattern{"*", text, prefix}]; len(l) > 0 {
			lists = append(lists, l)
		}
	}
	look(ev.Type, false)
	for _, p := range g.prefixes {
		if p.length > len(ev.Type) {
			break
		}
		look(ev.Type[:p.length], true)
	}
	for len(lists) > 0 {
		// The smallest destination at the head of a list is next; where several lists have it, its first subscription counts.
		least := lists[0][0]
		for _, l := range lists[1:] {
			m := l[0]
			if c := cmp.Compare(m.target.destination, least.target.destination); c < 0 || c == 0 && m.sub < least.sub {
				least = m
			}
		}
		out = append(out, newDelivery(least.target, least.target.sub(least.sub), ev))
		keep := lists[:0]
		for _, l := range lists {
			if l[0].target == least.target {
				l = l[1:]
			}
			if len(l) > 0 {
				keep = append(keep, l)
			}
		}
		lists = keep
	}
	return out
}

func newDelivery(t *target, s *Subscription, ev *Event) store.NewDelivery {
	d := store.NewDelivery{Destination: t.destination}
	if !s.Unordered {
		d.Lane = ev.OrderingKey
	}
	return d
}
