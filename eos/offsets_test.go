package eos_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
)

// TestMetadataGolden pins the format (docs/format/offset-metadata.md).
func TestMetadataGolden(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]eos.Metadata{
		"1;app-p-0;300;-1;": {TransactionalID: "app-p-0", Epoch: 300, StreamTime: -1},
		"1;;1;1700000000000;app-p": {
			Epoch: 1, StreamTime: 1_700_000_000_000, Departed: "app-p",
		},
		"2;app-p-0;42;7;;prepared=tidemark:app:1_3:42:orders-db:k7": {
			TransactionalID: "app-p-0", Epoch: 42, StreamTime: 7, Prepared: []eos.TransactionName{ordersName()},
		},
		"2;app-p-0;42;7;app-p;prepared=tidemark:app:1_3:42:orders-db:k7,tidemark:app:1_3:42:orders-db:k7": {
			TransactionalID: "app-p-0", Epoch: 42, StreamTime: 7, Departed: "app-p",
			Prepared: []eos.TransactionName{ordersName(), ordersName()},
		},
	} {
		require.Equal(t, want, m.Encode())
		got, err := eos.ParseMetadata(want)
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, foreign := range []string{
		"", "AgAAAX", "2;a;1;1;", "1;a;1", "1;a;1;2;3;4", "1;a;x;1;", "1;a;-1;1;", "1;a;1;x;", "0;a;1;1;",
		"2;a;1;1;;", "2;a;1;1;;other=1", "2;a;1;1;;prepared", "2;a;1;1;;prepared=x", "1;a;1;1;;prepared=x",
		"2;a;1;1;;prepared=tidemark:a:0_0:1:s:o;prepared=tidemark:a:0_0:1:s:o", "3;a;1;1;;",
	} {
		m, err := eos.ParseMetadata(foreign)
		require.ErrorIs(t, err, eos.ErrForeignMetadata, foreign)
		require.Equal(t, eos.Metadata{StreamTime: -1}, m)
	}
}
