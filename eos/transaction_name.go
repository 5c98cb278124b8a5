package eos

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/record"
)

// TransactionName names what one task has prepared for one sink in one epoch (docs/format/transaction-name.md).
type TransactionName struct {
	ApplicationID string
	Task          record.TaskID
	Epoch         record.Epoch
	Sink          string // name of the operator
	// Owner is drawn anew each time a task starts: two owners of the same task never use the same name, so that none of
	// them can end what the other one has prepared.
	Owner string
}

// transactionPrefix begins the text form. It is the version of the format, too.
const transactionPrefix = "tidemark"

// namePart is what a part of the text form consists of: no separators of this form or of [Metadata], nothing to quote.
var namePart = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

// ValidSinkName reports whether a sink may have the name: letters, digits, '.', '_' and '-'.
func ValidSinkName(name string) bool { return namePart.MatchString(name) }

// String returns "tidemark:<application id>:<task>:<epoch>:<sink>:<owner>".
func (n TransactionName) String() string {
	return strings.Join([]string{
		transactionPrefix, n.ApplicationID, n.Task.String(), strconv.FormatUint(uint64(n.Epoch), 10), n.Sink, n.Owner,
	}, ":")
}

// Prefix begins the names of all transactions of the application.
func (n TransactionName) Prefix() string { return transactionPrefix + ":" + n.ApplicationID + ":" }

// ParseTransactionName parses the text form.
func ParseTransactionName(s string) (TransactionName, error) {
	const parts = 6
	f := strings.Split(s, ":")
	bad := func(what string) (TransactionName, error) {
		return TransactionName{}, fmt.Errorf("eos: %.80q is not the name of a transaction of ours: %s", s, what)
	}
	if len(f) != parts || f[0] != transactionPrefix {
		return bad(`want "tidemark:<application id>:<task>:<epoch>:<sink>:<owner>"`)
	}
	for _, part := range f {
		if !namePart.MatchString(part) {
			return bad("a part is empty or has foreign characters")
		}
	}
	task, err := record.ParseTaskID(f[2])
	if err != nil {
		return bad(err.Error())
	}
	epoch, err := strconv.ParseUint(f[3], 10, 64)
	if err != nil {
		return bad("the epoch is no number")
	}
	n := TransactionName{ApplicationID: f[1], Task: task, Epoch: record.Epoch(epoch), Sink: f[4], Owner: f[5]}
	if n.String() != s { // "+1", "007"
		return bad("a number is not in its usual form")
	}
	return n, nil
}

// For reports whether the transaction is of this task and sink.
func (n TransactionName) For(at SinkTask) bool {
	return n.ApplicationID == at.ApplicationID && n.Task == at.Task && n.Sink == at.Sink
}
