// Package assign decides which member of the consumer group runs which task. It is pure: no I/O, no clock, no
// randomness, the same input gives the same output. The group's leader calls it between JoinGroup and SyncGroup.
//
//	Subscription (user data) ──┐
//	members' owned tasks,      ├──► Place ──► active ──► Withhold ──► Assignment (user data) ──► SyncGroup
//	state and its positions    │      │                  tasks that somebody
//	Tasks(sub-topologies) ─────┘      │                  else still runs wait
//	ends of their changelogs          └────► standbys, warm-ups ────────▲
//
// A hand-over takes two rebalances. In the first, a task that has to move is given to nobody: its owner sees it
// missing, commits, hands it over and joins again. In the second, it is free and goes to its new owner. Tasks that
// stay are never interrupted (KIP-429).
//
// # Balance
//
// Let w be the workers of a member and W those of all. Of n tasks a member gets n·w/W, rounded up or down, both
// over all tasks and within each sub-topology; so neither the total nor a heavy sub-topology piles up anywhere. Both
// roundings can always be met at once (controlled rounding of a matrix), and among all assignments that meet them
// [Place] picks one that moves the fewest tasks, then what is under way already, and then uses the nearest state: see
// target.go, flow.go and sticky.go. That is the target.
//
// # State
//
// A task with state stays with its owner until its target has caught up (KIP-441). The target warms up meanwhile, a few
// at a time in the whole group, and asks for a rebalance when it is near enough (warmup.go). What nobody runs starts at
// once where that is soonest, at a standby if there is one, be it beyond its share; then it moves like any other
// (idle.go). Each hand-over that is done leaves one less to do, and a warm-up in progress counts for more than any
// other state: so the target does not jump, and the group comes to rest. Standbys are spread over racks (KIP-708),
// balanced and sticky (standby.go).
//
// The functions may be called from any goroutine; they keep nothing.
package assign
