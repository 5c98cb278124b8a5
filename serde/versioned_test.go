package serde_test

import (
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
)

func parseInt(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

func TestVersionedBytes(t *testing.T) {
	check(t, serde.Must(serde.Versioned(1, serde.String)), "a", "0161")
	check(t, serde.Must(serde.Versioned(127, serde.String)), "", "7f")
	check(t, serde.Must(serde.Versioned(300, serde.Int64)), int64(1), "ac020000000000000001")
}

func TestVersionedUpgrades(t *testing.T) {
	s := serde.Must(serde.Versioned(3, serde.Int64,
		serde.Upgrade(1, serde.String, parseInt),
		serde.Upgrade(2, serde.Int32, func(n int32) (int64, error) { return int64(n), nil })))
	for _, c := range []struct {
		data string
		want int64
		err  string
	}{
		{data: "013432", want: 42},
		{data: "020000002a", want: 42},
		{data: "03000000000000002a", want: 42},
		{data: "0178", err: `int64: version 1: upgrade: strconv.ParseInt: parsing "x": invalid syntax`},
		{data: "0200", err: "serde: versioned int64: version 2: serde: int32: want 4 byte(s), got 1"},
		{data: "0300", err: "serde: int64: want 8 byte(s), got 1"},
		{data: "04", err: "version 4 is not one of [1 2 3]: a newer program wrote it"},
		{data: "00", err: "want a version in front"},
		{data: "", err: "want a version in front, got 0 byte(s)"},
		{data: "ffffffffffffffffffff01", err: "was it written without serde.Versioned?"},
		{data: "80808001", err: "want a version in front"}, // 2^21
	} {
		data, err := hex.DecodeString(c.data)
		require.NoError(t, err)
		got, err := s.Decode(data)
		if c.err != "" {
			require.ErrorContains(t, err, c.err, c.data)
			require.Zero(t, got)
			continue
		}
		require.NoError(t, err, c.data)
		require.Equal(t, c.want, got, c.data)
	}
}

func TestVersionedMistakes(t *testing.T) {
	same := func(s string) (string, error) { return s, nil }
	_, err := serde.Versioned(2, nil,
		serde.Upgrade(2, serde.String, same), serde.Upgrade(0, serde.String, same),
		serde.Upgrade(1, serde.String, same), serde.Upgrade(1, serde.String, same),
		serde.Upgrade[string, string](1, nil, same), serde.Older[string]{})
	require.EqualError(t, err, strings.Join([]string{
		"serde: versioned string: the serde of the current version is nil",
		"serde: versioned string: version 2 is not older than the current one, 2",
		"serde: versioned string: version 0 is not older than the current one, 2",
		"serde: versioned string: version 1 is given twice",
		"serde: versioned string: version 1 has no serde or no function that upgrades it: make it with serde.Upgrade",
		"serde: versioned string: version 0 has no serde or no function that upgrades it: make it with serde.Upgrade",
	}, "\n"))
	for _, current := range []int{-1, 0, 1<<20 + 1} {
		_, err = serde.Versioned(current, serde.String)
		require.ErrorContains(t, err, "is not in 1 to 1048576")
	}
	require.PanicsWithError(t, err.Error(), func() { serde.Must(serde.Versioned(1<<20+1, serde.String)) })

	out, err := serde.Must(serde.Versioned(1, serde.JSON[func()]())).Append([]byte("keep"), nil)
	require.Error(t, err)
	require.Equal(t, "keep", string(out))
}

func TestUnavailableError(t *testing.T) {
	cause := errors.New("cause")
	err := &serde.UnavailableError{What: "the registry", Err: cause}
	require.EqualError(t, err, "serde: the registry is not available: cause")
	require.ErrorIs(t, err, cause)
	err.Permanent = true
	require.EqualError(t, err, "serde: the registry refuses: cause")
}

func FuzzVersionedDecode(f *testing.F) {
	s := serde.Must(serde.Versioned(3, serde.String, serde.Upgrade(1, serde.Int64, func(n int64) (string, error) {
		return strconv.FormatInt(n, 10), nil
	})))
	f.Add([]byte{3, 'a'})
	f.Add([]byte{1, 0, 0, 0, 0, 0, 0, 0, 9})
	f.Add([]byte{0x83, 0, 'a'}) // a version in more bytes than it needs
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := s.Decode(data)
		if err != nil {
			return
		}
		again, err := s.Append(nil, v)
		require.NoError(t, err)
		back, err := s.Decode(again)
		require.NoError(t, err)
		require.Equal(t, v, back)
	})
}
