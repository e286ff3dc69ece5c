// Package store keeps what must outlive the process, in SQLite or PostgreSQL.
// It knows tables, not rules: who may do what, and what a valid URL is, is told
// by the packages above. It starts no goroutine of its own.
//
// Everything happens in a transaction: Update writes, View reads. Updates run one
// after the other and are on disk when they come back, so a state and the events
// that tell of it (Tx.Append) are both there or neither is, however the process
// ends. Both engines mean the same by every method; one suite of tests holds them
// to it. One server has a database at a time.
//
//	table              one row for each                kept
//	applications       tenant                          until deleted
//	domains            streaming domain                until deleted
//	tasks              stream relay task: what it      until the task ends
//	                   should be doing
//	events             thing that happened: the log    7 days (LogKept)
//	counters           number given out last           always
//	present_channels   open channel                    until it closes
//	present_users      user's stay in a channel        until it ends
//	present_streams    stream of the origin on air     until it ends
//	templates          what is made of streams         until deleted
//	addresses          URL to publish at without       until it expires
//	                   a token
//	used               application, class and span     100 days (UsageKept)
//	                   of 5 minutes: milliseconds
//	meta               value of the server's own       until written over
//	subscriptions      callback task                   until deleted
//	lanes, deliveries  channel, and event, on its      until delivered or given up
//	                   way to a subscription
//	failures           event that was given up         7 days
//	records            attempt to deliver              7 days
//	answers            request that may be repeated    24 hours (AnswerKept)
//	administrators     person of the console           until deleted
//	logins             stay of one of them             until it expires
//	audit              thing that somebody did         180 days (AuditKept)
//	migrations         step of the schema              always
//
// Times are Unix milliseconds in UTC, 0 for the zero time; a time that is read
// has been rounded down accordingly. Text is compared byte by byte.
package store
