package store

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
)

// Whatever a decoder accepts, it encodes to bytes that it decodes to the same.
func FuzzVersion(f *testing.F) {
	s := versionSerde[string]{value: serde.String}
	for _, seed := range []string{
		"", "\x01", "\x01\x00", "\x01\x01", "\x01\x01value", "\x01\x00x", "\x01\x02", "\x02\x01",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := s.Decode(data)
		if err != nil {
			return
		}
		encoded, err := s.Append(nil, v)
		require.NoError(t, err)
		require.Equal(t, data, encoded)
	})
}

func FuzzBuffered(f *testing.F) {
	s := bufferedSerde[string]{value: serde.String}
	for _, seed := range []string{
		"", "\x01", "\x01\x00", "\x01\x00v", "\x01\x01\x01h\x00v", "\x01\x02\x01h\x02xv", "\x01\x01\x01h\xff\xff\x03",
		"\x01\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x02\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := s.Decode(data)
		if err != nil {
			return
		}
		encoded, err := s.Append(nil, v)
		require.NoError(t, err)
		again, err := s.Decode(encoded)
		require.NoError(t, err)
		require.Equal(t, v, again)
	})
}
