package tidemark

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoster(t *testing.T) {
	var r roster
	require.Empty(t, r.update(map[string]int{"a": 2, "b": 1}), "nobody was a member before the first")
	require.Empty(t, r.update(map[string]int{"a": 2, "b": 1, "c": 1}))
	require.Equal(t, map[string]int{"a": 2}, r.update(map[string]int{"b": 1, "c": 1}))
	require.Empty(t, r.update(map[string]int{"b": 1, "c": 1}), "once")
	require.Empty(t, r.update(map[string]int{"a": 2, "b": 1, "c": 1}), "it is back")
}

func TestProcessOf(t *testing.T) {
	const process = "0b6c6d6e-2d5a-4a4f-9d43-7f1f4a5f6a7b"
	got, ok := processOf("my-app", transactionalID("my-app", process, 12))
	require.True(t, ok)
	require.Equal(t, process, got)
	for _, other := range []string{"", "my-app", "my-app-", "my-apps-x-1", "other-x-1"} {
		got, ok := processOf("my-app", other)
		require.False(t, ok && got != "", other)
	}
}
