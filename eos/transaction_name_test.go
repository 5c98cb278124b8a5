package eos_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

func ordersName() eos.TransactionName {
	return eos.TransactionName{
		ApplicationID: "app", Task: record.TaskID{Subtopology: 1, Partition: 3}, Epoch: 42, Sink: "orders-db", Owner: "k7",
	}
}

// TestTransactionNameGolden pins the format (docs/format/transaction-name.md).
func TestTransactionNameGolden(t *testing.T) {
	t.Parallel()
	const text = "tidemark:app:1_3:42:orders-db:k7"
	require.Equal(t, text, ordersName().String())
	got, err := eos.ParseTransactionName(text)
	require.NoError(t, err)
	require.Equal(t, ordersName(), got)
	require.True(t, strings.HasPrefix(text, got.Prefix()))

	at := eos.SinkTask{ApplicationID: "app", Sink: "orders-db", Task: record.TaskID{Subtopology: 1, Partition: 3}}
	require.True(t, got.For(at))
	at.Task.Partition = 4
	require.False(t, got.For(at))

	for _, foreign := range []string{
		"", "tidemark", "tidemark:app:1_3:42:orders-db", "tidemark:app:1_3:42:orders-db:k7:", "other:app:1_3:42:s:k",
		"tidemark::1_3:42:s:k", "tidemark:app:1:42:s:k", "tidemark:app:1_3:x:s:k", "tidemark:app:1_3:-1:s:k",
		"tidemark:app:1_3:042:s:k", "tidemark:app:1_3:42:s':k", "tidemark:app:1_3:42:s;:k", "tidemark:app:1_3:42:s:",
	} {
		n, err := eos.ParseTransactionName(foreign)
		require.Error(t, err, foreign)
		require.Zero(t, n)
	}
	require.True(t, eos.ValidSinkName("orders.db_2-x"))
	for _, name := range []string{"", "a b", "a:b", "ä", "a'"} {
		require.False(t, eos.ValidSinkName(name), name)
	}
}

// FuzzParseTransactionName checks that what parses is what prints.
func FuzzParseTransactionName(f *testing.F) {
	f.Add("tidemark:app:1_3:42:orders-db:k7")
	f.Add("tidemark:a:0_0:+1:s:o")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := eos.ParseTransactionName(s)
		if err != nil {
			require.Zero(t, n)
			return
		}
		require.Equal(t, s, n.String())
		require.NotContains(t, s, "'")
		require.NotContains(t, s, ";")
	})
}
