package topology

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
)

// TestCountRowBytes pins the format of a row of count windows (docs/format/count-windows.md).
func TestCountRowBytes(t *testing.T) {
	s := newCountRowSerde(serde.String)
	row := countRow[string]{seen: 300, open: []countWindow[string]{
		{end: 301, value: "hi", exists: true, timestamp: 7},
		{end: 302, timestamp: 9},
		{end: 303, value: "", exists: true},
	}}
	data, err := s.Append([]byte("x"), row)
	require.NoError(t, err)
	require.Equal(t, "x\x01\xac\x02\x03\xad\x02\x07\x03hi\xae\x02\x09\x00\xaf\x02\x00\x01", string(data))
	got, err := s.Decode(data[1:])
	require.NoError(t, err)
	require.Equal(t, row, got)
	for _, bad := range []string{
		"", "\x02\x00\x00", "\x01", "\x01\x00", "\x01\x00\x01", "\x01\x00\x00z",
		"\x01\x00\xff\xff\xff\xff\x0f", "\x01\x00\x01\x01\x01\x09a",
	} {
		_, err := s.Decode([]byte(bad))
		require.Error(t, err, "%x", bad)
	}
}

func FuzzCountRow(f *testing.F) {
	f.Add([]byte("\x01\xac\x02\x03\xad\x02\x07\x03hi\xae\x02\x09\x00\xaf\x02\x00\x01"))
	f.Add([]byte("\x01\x00\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := newCountRowSerde(serde.String)
		row, err := s.Decode(data)
		if err != nil {
			return
		}
		out, err := s.Append(nil, row)
		require.NoError(t, err)
		again, err := s.Decode(out)
		require.NoError(t, err)
		require.Equal(t, row, again)
	})
}
