package registry_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde/registry"
)

// TestWireBytes pins docs/format/registry.md. The vectors with indexes are those of Confluent's own serializers.
func TestWireBytes(t *testing.T) {
	for _, c := range []struct {
		id   int
		path []int
		want string
	}{
		{1, nil, "0000000001"},
		{0x01020304, nil, "0001020304"},
		{1<<31 - 1, nil, "007fffffff"},
		{5, []int{0}, "000000000500"},
		{8, []int{2}, "00000000080204"},
		{7, []int{2, 0}, "0000000007040400"},
		{7, []int{6, 0}, "0000000007040c00"},
		{1, []int{0, 0, 64}, "00000000010600008001"},
	} {
		data := registry.AppendHeader([]byte("p"), c.id)
		if c.path != nil {
			data = registry.AppendIndexes(data, c.path)
		}
		require.Equal(t, c.want, hex.EncodeToString(data[1:]))
		id, rest, err := registry.Header(append(data[1:], 'x'))
		require.NoError(t, err)
		require.Equal(t, c.id, id)
		if c.path != nil {
			rest, err = registry.SkipIndexes(rest)
			require.NoError(t, err)
		}
		require.Equal(t, "x", string(rest))
	}
}

// The path [0] may also be written in full, as the first versions of Confluent's serializer did for all paths.
func TestSkipIndexesInFull(t *testing.T) {
	rest, err := registry.SkipIndexes([]byte{2, 0, 'x'})
	require.NoError(t, err)
	require.Equal(t, "x", string(rest))
}

func TestWireMistakes(t *testing.T) {
	for _, data := range []string{"", "00", "00000000", "0100000001", `{"a":1}`} {
		raw, err := hex.DecodeString(data)
		if err != nil {
			raw = []byte(data)
		}
		_, _, err = registry.Header(raw)
		require.ErrorContains(t, err, "want the byte 0 and the id of a schema in front", data)
		require.ErrorContains(t, err, "was it written by another serde?", data)
	}
	_, _, err := registry.Header([]byte{0, 0x80, 0, 0, 0})
	require.ErrorContains(t, err, "2147483648 is not the id of a schema")
	for data, want := range map[string]string{
		"":                       "want the path of a Protobuf message",
		"01":                     "want the path of a Protobuf message", // -1 steps
		"8201":                   "want the path of a Protobuf message", // 65 steps
		"04":                     "ends early",
		"0200":                   "",
		"020f":                   "no position", // step -8
		"04ffffffffffffffffff01": "no position",
	} {
		raw, err := hex.DecodeString(data)
		require.NoError(t, err)
		_, err = registry.SkipIndexes(raw)
		if want == "" {
			require.NoError(t, err, data)
			continue
		}
		require.ErrorContains(t, err, want, data)
	}
}

func FuzzWire(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 1, 4, 2, 6, 9})
	f.Fuzz(func(t *testing.T, data []byte) {
		id, rest, err := registry.Header(data)
		if err != nil {
			return
		}
		require.Equal(t, data, append(registry.AppendHeader(nil, id), rest...))
		if left, err := registry.SkipIndexes(rest); err == nil {
			require.LessOrEqual(t, len(left), len(rest))
		}
	})
}
