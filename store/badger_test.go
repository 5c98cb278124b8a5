package store

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"
)

// openTestBadger opens a badger engine and closes it if the test does not.
func openTestBadger(t *testing.T, dir string) *badgerEngine {
	t.Helper()
	e, err := openBadger(dir, NewBudget(64<<20), slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	t.Cleanup(func() {
		if !e.db.IsClosed() {
			require.NoError(t, e.Close())
		}
	})
	return e
}
