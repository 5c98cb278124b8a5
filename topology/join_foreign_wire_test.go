package topology

import (
	"bytes"
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
)

var (
	requests   = subscriptionSerde[string]{serde.String}
	answers    = answerSerde[string]{serde.String}
	storedKeys = subscriptionKeySerde[string, string]{serde.String, serde.String}
)

// abcHash is the beginning of the SHA-256 of "abc", as FIPS 180-2 gives it.
const abcHash = "ba7816bf8f01cfea414140de5dae2223"

// TestForeignKeyJoinBytes pins docs/format/foreign-key-join.md.
func TestForeignKeyJoinBytes(t *testing.T) {
	row := hashOf([]byte("abc"))
	roundTrip(t, requests, "0104"+"00000007"+abcHash+"6b", subscription[string]{"k", row, 7, subscribe})
	roundTrip(t, requests, "0105"+"00000000"+abcHash, subscription[string]{"", row, 0, subscribeAnswered})
	roundTrip(t, requests, "0102"+"00000001"+"6b", subscription[string]{"k", rowHash{}, 1, unsubscribe})
	roundTrip(t, requests, "0103"+"7fffffff"+"6b", subscription[string]{"k", rowHash{}, 1<<31 - 1, unsubscribeAnswered})
	roundTrip(t, answers, "0105"+abcHash+"76", answer[string]{hash: row, right: Some("v")})
	roundTrip(t, answers, "0101", answer[string]{right: Some("")})
	roundTrip(t, answers, "0104"+abcHash, answer[string]{hash: row})
	roundTrip(t, answers, "0100", answer[string]{})
	roundTrip[subscriber](t, subscriberSerde{}, "0104"+"00000007"+abcHash, subscriber{row, 7})
	roundTrip(t, storedKeys, "01"+"00000002"+"6162"+"6b", subscriptionKey[string, string]{"ab", "k"})
	roundTrip(t, storedKeys, "01"+"00000000", subscriptionKey[string, string]{"", ""})
}

func roundTrip[T any](t *testing.T, s serde.Serde[T], want string, v T) {
	t.Helper()
	got, err := s.Append([]byte{9}, v)
	require.NoError(t, err)
	require.Equal(t, "09"+want, hex.EncodeToString(got))
	back, err := s.Decode(got[1:])
	require.NoError(t, err)
	require.Equal(t, v, back)
}

func TestForeignKeyJoinRefusesOtherBytes(t *testing.T) {
	refuse := func(bad string, decode func([]byte) error) {
		t.Helper()
		data, err := hex.DecodeString(bad)
		require.NoError(t, err)
		require.Error(t, decode(data), bad)
	}
	for _, bad := range []string{
		"", "01", "0100", "010000", "0200" + "000000016b", "0108" + "000000016b", "0104" + "00000001" + "aa",
		"0100ffffffff6b",
	} {
		refuse(bad, func(data []byte) error { _, err := requests.Decode(data); return err })
	}
	for _, bad := range []string{"", "01", "0200", "0102", "0104aa", "010076"} {
		refuse(bad, func(data []byte) error { _, err := answers.Decode(data); return err })
	}
	for _, bad := range []string{"", "0100", "0101" + "00000001", "0100" + "00000001" + "aa"} {
		refuse(bad, func(data []byte) error { _, err := subscriberSerde{}.Decode(data); return err })
	}
	for _, bad := range []string{"", "01000000", "0200000000", "0100000002aa", "01ffffffffaa"} {
		refuse(bad, func(data []byte) error { _, err := storedKeys.Decode(data); return err })
	}
}

// The subscribers of a row must not be found under another row whose key begins alike.
func TestForeignKeyPrefixes(t *testing.T) {
	prefix := func(foreign string) []byte {
		p, err := storedKeys.appendPrefix(nil, foreign)
		require.NoError(t, err)
		return p
	}
	key, err := storedKeys.Append(nil, subscriptionKey[string, string]{"ab", "k"})
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(key, prefix("ab")))
	for _, other := range []string{"", "a", "abk", "b"} {
		require.False(t, bytes.HasPrefix(key, prefix(other)), other)
	}
	partitionKey, err := SubscriptionPartitionKey(key)
	require.NoError(t, err)
	require.Equal(t, "ab", string(partitionKey))
	for n := range 7 {
		_, err := SubscriptionPartitionKey(key[:n])
		require.Error(t, err)
	}
}

func FuzzForeignKeyJoinDecode(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 1, 'k'})
	f.Add([]byte{1, 1, 'v'})
	f.Add([]byte{1, 0, 0, 0, 1, 'f', 'k'})
	f.Fuzz(func(t *testing.T, data []byte) {
		again(t, requests, data)
		again(t, answers, data)
		again[subscriber](t, subscriberSerde{}, data)
		again(t, storedKeys, data)
	})
}

// again encodes what was decoded: there is one encoding of everything.
func again[T any](t *testing.T, s serde.Serde[T], data []byte) {
	t.Helper()
	v, err := s.Decode(data)
	if err != nil {
		return
	}
	encoded, err := s.Append(nil, v)
	require.NoError(t, err)
	require.Equal(t, data, encoded)
}
