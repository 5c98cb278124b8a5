package topology

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
)

// TestHeldBytes pins the format of updates that a suppress holds back (docs/format/suppress-buffer.md).
func TestHeldBytes(t *testing.T) {
	s := newHeldSerde(serde.String)
	headers := []record.Header{{Key: "h", Value: []byte("x")}, {Key: "", Value: []byte{}}, {Key: "n"}}
	for want, h := range map[string]heldUpdate[string]{
		"0100":                            {},
		"01016162":                        {value: "ab", hasValue: true},
		"01026364":                        {prior: "cd", hasPrior: true},
		"0103026162636465":                {value: "ab", hasValue: true, prior: "cde", hasPrior: true},
		"01050301680278" + "0001016e0061": {value: "a", hasValue: true, headers: headers},
	} {
		got, err := s.Append([]byte{9}, h)
		require.NoError(t, err)
		require.Equal(t, "09"+want, hex.EncodeToString(got))
		back, err := s.Decode(got[1:])
		require.NoError(t, err)
		require.Equal(t, h, back)
	}
	for _, bad := range []string{
		"", "01", "0200", "0108", "0103", "010305aa", "0103ffffffffffffffffff01", "0104", "010401", "01040105",
		"01040101680561", "0104ffffffffffffffffff01", "0104010168ffffffffffffffffff01",
	} {
		data, err := hex.DecodeString(bad)
		require.NoError(t, err)
		_, err = s.Decode(data)
		require.Error(t, err, bad)
	}
}

func FuzzHeldDecode(f *testing.F) {
	f.Add([]byte{1, 7, 1, 1, 'h', 2, 'x', 1, 'a', 'b'})
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newHeldSerde(serde.String)
		h, err := s.Decode(data)
		if err != nil {
			return
		}
		again, err := s.Append(nil, h)
		require.NoError(t, err)
		back, err := s.Decode(again)
		require.NoError(t, err)
		if len(h.headers) == 0 {
			h.headers = nil // an empty list is written as none
		}
		require.Equal(t, h, back)
	})
}
