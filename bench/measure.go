package main

// measure takes one or more rows of the table at a time, because they come out of the same run.
type measure struct {
	name string

	// method says how it is taken: what runs on both sides, who calls, what is counted. Shown by -list.
	method string

	rows []row
	take func(*run) error
}

// row is a line of the table before it is measured. What is judged is the ratio to the limit where there is one, else the
// value itself.
type row struct {
	name    string
	what    string // for people
	unit    string
	against string // what the limit is; empty: there is none
	bar     bar
}

// measures is the list of all, in the order in which they run: the limits first, then what is most often asked for.
var measures = []measure{
	measureLimits,
	measureDeliver,
	measureDrain,
	measureFanOut,
	measurePublish,
	measureSingle,
	measureLatency,
	measureIsolation,
	measureOrder,
	measurePending,
	measurePrune,
	measureIdempotent,
	measureScheduler,
	measureJournal,
}
