// Package assign decides which member of the consumer group runs which task. It is pure: no I/O, no clock, no
// randomness, the same input gives the same output. The group's leader calls it between JoinGroup and SyncGroup.
//
//	Subscription (user data) ──┐
//	members' owned tasks ──────┼──► Assign ──► target ──► Withhold ──► Assignment (user data) ──► SyncGroup
//	Tasks(sub-topologies) ─────┘   balanced,              tasks that somebody
//	                               sticky                 else still runs wait
//
// A rebalance takes at most two rounds. In the first, a task that has to move is given to nobody: its owner sees it
// missing, commits, hands it over and joins again. In the second, it is free and goes to its new owner. Tasks that
// stay are never interrupted (KIP-429).
//
// # Balance
//
// Let w be the workers of a member and W those of all. Of n tasks a member gets n·w/W, rounded up or down, both
// over all tasks and within each sub-topology; so neither the total nor a heavy sub-topology piles up anywhere. Both
// roundings can always be met at once (controlled rounding of a matrix), and among all assignments that meet them
// [Assign] picks one that moves the fewest running tasks and then uses the most local state: see flow.go.
//
// The functions may be called from any goroutine; they keep nothing.
package assign
