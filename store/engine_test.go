package store_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/store"
	"github.com/tidemarkio/tidemark/store/storetest"
)

func TestMemEngine(t *testing.T) {
	t.Parallel()
	storetest.RunEngine(t,
		func(*testing.T) store.Engine { return store.NewMemEngine() },
		func(t *testing.T, e store.Engine) store.Engine { t.Helper(); return nil })
}

func TestKeyValueModel(t *testing.T) {
	t.Parallel()
	for _, inMemory := range []bool{true, false} {
		for _, caching := range []bool{false, true} {
			for seed := range uint64(4) {
				t.Run(fmt.Sprintf("memory=%t/caching=%t/%d", inMemory, caching, seed), func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					spec := store.KeyValueSpec("kv", serde.String, serde.String)
					spec.InMemory, spec.CachingEnabled = inMemory, caching
					open := func(t *testing.T, specs []store.Spec, context *store.Context) *store.Set {
						t.Helper()
						set, err := store.OpenSet(t.Context(), store.SetConfig{
							Dir: dir, Specs: specs, Context: context, CachingEnabled: true, Budget: smallBudget(),
						})
						require.NoError(t, err)
						return set
					}
					storetest.RunKeyValue(t, open, spec, !inMemory, seed)
				})
			}
		}
	}
}

func TestBadgerEngine(t *testing.T) {
	t.Parallel()
	storetest.RunEngine(t,
		func(t *testing.T) store.Engine { t.Helper(); return store.OpenBadgerForTest(t, t.TempDir()) },
		func(t *testing.T, e store.Engine) store.Engine {
			t.Helper()
			require.NoError(t, e.Close())
			return store.OpenBadgerForTest(t, store.DirOf(e))
		})
}
