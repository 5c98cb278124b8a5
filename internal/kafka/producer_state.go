package kafka

import (
	"fmt"
	"slices"
)

// txnState is where a producer stands.
//
//	           Init                Begin               Commit
//	┌──────┐ ──────────► ┌───────┐ ────────► ┌──────┐ ─────────► ┌────────┐ ── answered ──► ready
//	│ lost │             │ ready │           │ open │            │ ending │
//	└──────┘ ◄─ fenced ─ └───────┘           └──────┘ ── Abort ► └────────┘
//	    ▲                                     │    ▲                  │
//	    │                      refused answer │    │ Begin again      │ unknown outcome, fenced
//	    │                                     ▼    └─┘                │
//	    │◄── connection lost, fenced ── ┌────────┐                    │
//	    │                               │ doomed │ ── Abort ► ending  │
//	    │                               └────────┘                    │
//	    └◄────────────────────────────────────────────────────────────┘
//
// Every state may become closed. An at-least-once producer knows lost, ready and closed.
type txnState int

const (
	// stateLost: no usable producer id and epoch: at the start, and when it is no longer certain what the broker did or
	// will do with requests of this epoch. Only Init leads on; Abort does the same.
	stateLost txnState = iota
	// stateReady: no transaction is open.
	stateReady
	// stateOpen: a transaction is open, or being opened.
	stateOpen
	// stateDoomed: a request was refused; every other one has been answered. The transaction can only be aborted.
	stateDoomed
	// stateEnding: EndTxn is under way.
	stateEnding
	// stateClosed is final.
	stateClosed
)

//nolint:gochecknoglobals // never written
var txnStateNames = [...]string{"lost", "ready", "open", "doomed", "ending", "closed"}

func (s txnState) String() string {
	if s < 0 || int(s) >= len(txnStateNames) {
		return fmt.Sprintf("txnState(%d)", int(s))
	}
	return txnStateNames[s]
}

// txnTransitions lists where each state may go.
//
//nolint:gochecknoglobals // never written
var txnTransitions = [...][]txnState{
	stateLost:   {stateReady, stateClosed},
	stateReady:  {stateOpen, stateLost, stateClosed},
	stateOpen:   {stateDoomed, stateEnding, stateLost, stateClosed},
	stateDoomed: {stateEnding, stateLost, stateClosed},
	stateEnding: {stateReady, stateLost, stateClosed},
	stateClosed: {},
}

// becomeLocked moves to a state. Staying is allowed, and nothing leaves closed: Close may come at any time. Any other
// illegal move is a bug of this package.
func (p *Producer) becomeLocked(next txnState) {
	if p.mu.state == next || p.mu.state == stateClosed {
		return
	}
	if !slices.Contains(txnTransitions[p.mu.state], next) {
		panic(fmt.Sprintf("kafka: producer %q: illegal transition %s → %s", p.cfg.TransactionalID, p.mu.state, next))
	}
	p.mu.state = next
}

func (p *Producer) become(next txnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.becomeLocked(next)
}

// worsen moves to doomed or lost after an error, unless a concurrent method (Send and SendOffsets may overlap) found
// worse, or Close came first.
func (p *Producer) worsen(next txnState) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.mu.state == stateClosed || p.mu.state == stateLost:
	case next == stateDoomed && p.mu.state != stateOpen:
	default:
		p.becomeLocked(next)
	}
}

// opening notes that the coordinator is about to hear of the transaction.
func (p *Producer) opening() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mu.state == stateReady {
		p.becomeLocked(stateOpen)
	}
}

func (p *Producer) state() txnState {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mu.state
}
