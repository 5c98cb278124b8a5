package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// Lost markers. When a transaction ends, its coordinator writes a marker to every partition of it. Kafka 4.3 skips a
// partition that has no leader at that moment: the look-up of the leader's address answers "none", which the
// coordinator takes for a deleted topic ("these partitions are likely deleted already and hence can be skipped" in its
// log). That happens when a broker is killed while a transaction is prepared and the partition has no other replica.
// The coordinator then calls the transaction complete, but in that partition it is open for ever: read_committed
// readers stop there, and the restore of a changelog never ends. Worse, the next marker of the same producer decides
// over those records too, be it a commit or an abort.
//
// So Init mends it before anything else is sent: if a partition has a transaction of ours open although the coordinator
// has none, an empty transaction over these partitions that ends like the last one writes what is missing.
//
// How the last one ended must not be forgotten on the way, whoever is killed when: InitProducerId resets what the
// coordinator knows. What it keeps, in the same write, is the timeout, so the end is noted there, in its last digit
// (see mark): while a mark stands, an open transaction is one that mends, and is not aborted but ended as the mark
// says. The InitProducerId that removes the mark comes last, when nothing is open.

// fate is how a transaction ended or will end.
type fate int

const (
	fateUnknown fate = iota
	fateAborted
	fateCommitted
)

func (f fate) String() string {
	return [...]string{"unknown", "aborted", "committed"}[f]
}

// markBase: unmarked timeouts are multiples of it, marked ones are not.
const markBase = 10 * time.Millisecond

// mark returns a transaction timeout that remembers a fate: 60 s becomes 60.000, 59.991 and 59.992 s for unknown,
// aborted and committed.
func mark(timeout time.Duration, f fate) time.Duration {
	timeout = timeout.Truncate(markBase)
	if f == fateUnknown {
		return timeout
	}
	return timeout - markBase + time.Duration(f)*time.Millisecond
}

func markOf(timeout time.Duration) fate {
	switch f := fate(timeout % markBase / time.Millisecond); f {
	case fateAborted, fateCommitted:
		return f
	default:
		return fateUnknown
	}
}

// lastTransaction is what the coordinator knows of the last transaction of a transactional id.
type lastTransaction struct {
	producerID int64
	epoch      int16
	fate       fate
	undecided  bool // open or prepared
	mending    bool // open, and only there to write lost markers
}

// last asks the coordinator. Before Kafka 3.0, without permission and for a new id nothing is known.
func (p *Producer) last(ctx context.Context) (lastTransaction, error) {
	res, err := askCoordinator(ctx, p, (*sarama.Broker).DescribeTransactions,
		&sarama.DescribeTransactionsRequest{TransactionalIDs: []string{p.cfg.TransactionalID}})
	if err == nil && len(res.TransactionStates) != 1 {
		err = errUnknownInternal
	}
	if err == nil {
		err = codeError(res.TransactionStates[0].ErrorCode)
	}
	switch {
	case err == nil:
		p.suspectOpen(&res.TransactionStates[0])
		return lastOf(&res.TransactionStates[0]), nil
	case errors.Is(err, errTransactionalIDNotFound), errors.Is(err, sarama.ErrUnsupportedVersion),
		errors.Is(err, sarama.ErrTransactionalIDAuthorizationFailed):
		return lastTransaction{producerID: -1}, nil
	}
	return lastTransaction{}, p.staleCoordinator(err)
}

const errTransactionalIDNotFound = sarama.KError(105) // sarama has no name for it

func lastOf(s *sarama.TransactionState) lastTransaction {
	l := lastTransaction{producerID: s.ProducerID, epoch: s.ProducerEpoch, fate: markOf(s.TransactionTimeout)}
	marked := l.fate != fateUnknown
	end := fateUnknown
	switch s.TransactionState {
	case "PrepareCommit":
		end, l.undecided = fateCommitted, true
	case "CompleteCommit":
		end = fateCommitted
	case "Ongoing": // Init aborts what is open
		end, l.undecided, l.mending = fateAborted, true, marked
	case "PrepareAbort", "PrepareEpochFence":
		end, l.undecided = fateAborted, true
	case "CompleteAbort":
		end = fateAborted
	}
	if !marked { // a marked one mends: it is the end of the one before it that counts
		l.fate = end
	}
	return l
}

// endLastAndAcquire takes a step towards a producer id whose past is decided in every partition: nil when there. Each
// step begins with a look at the coordinator, so the process may be killed between any two of them.
func (p *Producer) endLastAndAcquire(ctx context.Context) error {
	last, err := p.last(ctx)
	if err != nil {
		return err
	}
	switch {
	case last.mending:
		return p.endFor(ctx, last)
	case last.undecided:
		if err := p.acquire(ctx, mark(p.cfg.TransactionTimeout, last.fate)); err != nil {
			return err
		}
		return sarama.ErrConcurrentTransactions // look again
	}
	open, offsets, err := p.stillOpen(ctx, last.producerID)
	if err != nil {
		return fmt.Errorf("look for lost transaction markers: %w", err)
	}
	if len(open) == 0 && !offsets {
		return p.acquire(ctx, mark(p.cfg.TransactionTimeout, fateUnknown))
	}
	// Or a transaction has begun since: of the owner, who was taken for dead and is not.
	again, err := p.last(ctx)
	if err != nil {
		return err
	}
	if again != last {
		return sarama.ErrConcurrentTransactions // look again
	}
	if last.fate == fateUnknown {
		return fmt.Errorf("its last transaction is still open in %v (group offsets: %t), but its coordinator has ended it "+
			"and forgotten how: %w: end it by hand with kafka-transactions abort, or commit if its offsets were committed",
			open, offsets, eos.ErrFatal)
	}
	p.cfg.Logger.Error("the coordinator has lost transaction markers: writing them again",
		slog.String("transactional_id", p.cfg.TransactionalID), slog.String("outcome", last.fate.String()),
		slog.Any("partitions", open), slog.Bool("offsets", offsets))
	if err := p.acquire(ctx, mark(p.cfg.TransactionTimeout, last.fate)); err != nil {
		return err
	}
	if err := p.endAgain(ctx, last.fate, open, offsets); err != nil {
		return err
	}
	return sarama.ErrConcurrentTransactions // look again
}

// endFor ends the mending transaction of another producer, dead or alive, as it would. Whatever the answer, the next
// look tells what came of it.
func (p *Producer) endFor(ctx context.Context, last lastTransaction) error {
	_, err := askCoordinator(ctx, p, (*sarama.Broker).EndTxn, &sarama.EndTxnRequest{
		Version: 3, TransactionalID: p.cfg.TransactionalID, ProducerID: last.producerID, ProducerEpoch: last.epoch,
		TransactionResult: last.fate == fateCommitted,
	})
	if err != nil {
		return p.staleCoordinator(err)
	}
	return sarama.ErrConcurrentTransactions
}

// endAgain ends an empty transaction over the partitions.
func (p *Producer) endAgain(ctx context.Context, f fate, open []record.TopicPartition, offsets bool) error {
	p.become(stateReady)
	defer p.worsen(stateLost)
	if err := p.add(ctx, open, offsets); err != nil {
		return err
	}
	_, err := p.endTxn(ctx, f == fateCommitted)
	return err
}

// stillOpen returns in which suspects a producer id has a transaction open, and whether in the group's offsets.
func (p *Producer) stillOpen(ctx context.Context, id int64) (
	open []record.TopicPartition, offsets bool, err error,
) {
	if id < 0 {
		return nil, false, nil
	}
	group, known, err := p.offsetsPartition(ctx)
	if err != nil {
		return nil, false, err
	}
	suspects := slices.Collect(maps.Keys(p.suspects))
	if known {
		suspects = append(suspects, group)
	}
	found, err := findOpenTransactions(ctx, p.client, p.control, suspects)
	if errors.Is(err, sarama.ErrUnsupportedVersion) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	for tp, ids := range found.open {
		switch {
		case !slices.Contains(ids, id):
		case known && tp == group:
			offsets = true
		default:
			open = append(open, tp)
		}
	}
	slices.SortFunc(open, record.TopicPartition.Compare)
	return open, offsets, nil
}

// offsetsTopic holds the groups' offsets.
const offsetsTopic = "__consumer_offsets"

// offsetsPartition returns the partition that holds the offsets of our group: the broker's Utils.abs(groupId.hashCode)
// modulo the number of partitions. Not known while nobody has ever committed, or if we may not ask.
func (p *Producer) offsetsPartition(ctx context.Context) (tp record.TopicPartition, known bool, err error) {
	if p.cfg.GroupID == "" {
		return tp, false, nil
	}
	res, err := p.client.metadata(ctx, offsetsTopic)
	if err != nil {
		return tp, false, err
	}
	for _, t := range res.Topics {
		switch {
		case t.Name != offsetsTopic:
		case t.Err == sarama.ErrUnknownTopicOrPartition, t.Err == sarama.ErrTopicAuthorizationFailed:
			return tp, false, nil
		case t.Err != sarama.ErrNoError:
			return tp, false, t.Err
		case len(t.Partitions) > 0:
			return record.TopicPartition{
				Topic: offsetsTopic, Partition: javaAbs(javaHash(p.cfg.GroupID)) % int32(len(t.Partitions)),
			}, true, nil
		}
	}
	return tp, false, errUnknownInternal
}

// javaHash is java.lang.String.hashCode of a string of ASCII, which group ids are.
func javaHash(s string) int32 {
	var h int32
	for i := range len(s) {
		h = 31*h + int32(s[i])
	}
	return h
}

// javaAbs is Utils.abs of Kafka's clients: not the sign bit masked away, as elsewhere in Kafka, but the magnitude.
func javaAbs(n int32) int32 {
	if n == math.MinInt32 {
		return 0
	}
	return max(n, -n)
}

// suspectWritten adds the partitions that may have lost a marker: those this producer has written, and those that its
// application may have written in an earlier life.
func (p *Producer) suspectWritten() {
	for tp := range p.partitions {
		p.suspects[tp] = struct{}{}
	}
	for tp := range p.added {
		p.suspects[tp] = struct{}{}
	}
	if p.cfg.Suspects != nil {
		for _, tp := range p.cfg.Suspects() {
			p.suspects[tp] = struct{}{}
		}
	}
}

// suspectOpen adds what belongs to a transaction that is open or prepared.
func (p *Producer) suspectOpen(s *sarama.TransactionState) {
	for _, t := range s.Topics {
		for _, partition := range t.Partitions {
			if t.Topic != offsetsTopic { // see stillOpen
				p.suspects[record.TopicPartition{Topic: t.Topic, Partition: partition}] = struct{}{}
			}
		}
	}
}
