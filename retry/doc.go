// Package retry answers one question: when may we try again?
//
// A [Policy] says how long to wait after a failed attempt, and when to give up. It is a function of numbers that are
// stored with the delivery, and keeps nothing in memory, so a restart changes nothing:
//
//	retry.Standard                                        // ten attempts over about three days
//	retry.Schedule(time.Minute, time.Hour, 6*time.Hour)   // four attempts, and these waits between them
//	retry.Exponential(retry.Growth{Initial: time.Second}) // 1 s, 2 s, 4 s ... up to a day
//
// or anything of your own with the one method Next.
//
// [After] reads what a receiver asks for in a Retry-After header, and [Clamp] keeps that within reason. [Limiter] says
// whether a rate allows one more now, and if not, when.
//
// Everything here is safe for concurrent use. Nothing here starts a goroutine, sleeps or reads a clock.
package retry
