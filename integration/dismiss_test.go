package integration

import (
	"testing"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/integration/broker"
	"github.com/tidemarkio/tidemark/record"
)

// A machine is lost in the middle of a transaction in which only outputs were written yet: nothing of it holds up the
// next owner, but readers of the outputs would wait for its timeout. The leader of the group ends it.
func TestOpenTransactionOfADepartedOwner(t *testing.T) {
	s := newScenario(t, broker.Start(t))
	id := s.app + "-4c1f3c7e-4a55-4b0e-9d7e-2f6a9d3d2b11-0"
	owner := eos.Metadata{TransactionalID: id, Epoch: 1, StreamTime: -1}
	s.cluster.Abandon(t, id, s.app, record.TopicPartition{Topic: s.in}, owner.Encode(), s.out)
	a := s.start("a", t.TempDir())
	s.send(1000)
	s.check() // reads what is decided: partition 0 of the outputs, too
	a.stop()
}
