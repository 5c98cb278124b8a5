package topology

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
)

// TestChangeBytes pins the format of repartition topics of grouped tables.
func TestChangeBytes(t *testing.T) {
	s := changeSerde[string]{serde.String}
	for want, c := range map[string]Change[string]{
		"0100":             {},
		"01016162":         {New: "ab", HasNew: true},
		"01026364":         {Old: "cd", HasOld: true},
		"0103026162636465": {New: "ab", HasNew: true, Old: "cde", HasOld: true},
		"010300":           {HasNew: true, HasOld: true},
	} {
		got, err := s.Append([]byte{9}, c)
		require.NoError(t, err)
		require.Equal(t, "09"+want, hex.EncodeToString(got))
		back, err := s.Decode(got[1:])
		require.NoError(t, err)
		require.Equal(t, c, back)
	}
	for _, bad := range []string{"", "01", "0200", "0104", "0103", "010305aa", "0103ffffffffffffffffff01"} {
		data, err := hex.DecodeString(bad)
		require.NoError(t, err)
		_, err = s.Decode(data)
		require.Error(t, err, bad)
	}
}

func FuzzChangeDecode(f *testing.F) {
	f.Add([]byte{1, 3, 2, 'a', 'b', 'c'})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := changeSerde[string]{serde.String}
		c, err := s.Decode(data)
		if err != nil {
			return
		}
		again, err := s.Append(nil, c)
		require.NoError(t, err)
		back, err := s.Decode(again)
		require.NoError(t, err)
		require.Equal(t, c, back)
	})
}
