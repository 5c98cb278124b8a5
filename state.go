package tidemark

import (
	"fmt"
	"slices"
)

// State is the life of an App.
//
//	Created ──Run──► Rebalancing ◄────► Running
//	                     │  ▲              │
//	     error, restart  ▼  │              │ error
//	                  Restarting ◄─────────┤
//	                     │                 │ context ends, Close
//	    gives up ┌───────┤                 ▼
//	             ▼       └────────────► Closing ──► Closed
//	           Failed ◄────────────────────┘ (the last commit failed for good)
type State int

// States. The names in parentheses are Kafka Streams'.
const (
	Created     State = iota // New has returned (CREATED)
	Rebalancing              // joining the group or restoring (REBALANCING)
	Running                  // all tasks of this member process (RUNNING)
	Restarting               // waiting to start again after an error
	Closing                  // committing and handing over (PENDING_SHUTDOWN)
	Closed                   // Run has returned without error (NOT_RUNNING)
	Failed                   // Run has returned an error (ERROR)
)

// String returns the state's name.
func (s State) String() string {
	names := [...]string{"CREATED", "REBALANCING", "RUNNING", "RESTARTING", "CLOSING", "CLOSED", "FAILED"}
	if s < 0 || int(s) >= len(names) {
		return fmt.Sprintf("State(%d)", int(s))
	}
	return names[s]
}

// transitions lists where each state may go.
var transitions = map[State][]State{ //nolint:gochecknoglobals // a constant table
	Created:     {Rebalancing, Closing, Failed},
	Rebalancing: {Running, Restarting, Closing, Failed},
	Running:     {Rebalancing, Restarting, Closing, Failed},
	Restarting:  {Rebalancing, Closing, Failed},
	Closing:     {Closed, Failed},
	Closed:      {},
	Failed:      {},
}

func (s State) mayBecome(next State) bool {
	return slices.Contains(transitions[s], next)
}
