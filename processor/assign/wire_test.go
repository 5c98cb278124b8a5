package assign

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

// The golden bytes pin the format: a change of them needs a new version (docs/format).
const (
	goldenSubscription = "01" + "0470726f63" + "0466703031" + "08" + "02" + "0003" + "018002" + "01" + "0004" + "02"
	goldenAssignment   = "01" + "0466703031" + "07" + "02" + "0003" + "018002" + "00"
	goldenRefusal      = "01" + "0466703032" + "07" + "00" + "036e6f21"
)

func exampleSubscription() Subscription {
	return Subscription{
		Version: 1, ProcessID: "proc", Fingerprint: "fp01", Workers: 8,
		Owned: []record.TaskID{id(0, 3), id(1, 256)}, Previous: []record.TaskID{id(0, 4)},
		Attempt: 2,
	}
}

func exampleAssignment() Assignment {
	return Assignment{Version: 1, Fingerprint: "fp01", Total: 7, Tasks: []record.TaskID{id(0, 3), id(1, 256)}}
}

func TestSubscriptionGolden(t *testing.T) {
	data := AppendSubscription(nil, exampleSubscription())
	require.Equal(t, goldenSubscription, hex.EncodeToString(data))
	got, err := DecodeSubscription(data)
	require.NoError(t, err)
	require.Equal(t, exampleSubscription(), got)
}

func TestAssignmentGolden(t *testing.T) {
	refusal := Assignment{Version: 1, Fingerprint: "fp02", Total: 7, Refusal: "no!"}
	for want, a := range map[string]Assignment{goldenAssignment: exampleAssignment(), goldenRefusal: refusal} {
		data := AppendAssignment(nil, a)
		require.Equal(t, want, hex.EncodeToString(data))
		got, err := DecodeAssignment(data)
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
	long := AppendAssignment(nil, Assignment{Version: 1, Refusal: strings.Repeat("x", 2*stringBytesMax)})
	got, err := DecodeAssignment(long)
	require.NoError(t, err)
	require.Len(t, got.Refusal, stringBytesMax)

	got, err = DecodeAssignment(nil)
	require.NoError(t, err)
	require.Empty(t, got.Tasks)
}

func TestDecodeErrors(t *testing.T) {
	good := AppendSubscription(nil, exampleSubscription())
	_, err := DecodeSubscription(append([]byte{2}, good[1:]...))
	require.ErrorIs(t, err, ErrVersion)
	require.ErrorContains(t, err, "unknown version 2, this build reads 1 to 1: upgrade the older members")
	for n := range good {
		_, err = DecodeSubscription(good[:n])
		require.ErrorIs(t, err, ErrMalformed, "%d bytes", n)
	}
	_, err = DecodeSubscription(append(good, 0))
	require.ErrorIs(t, err, ErrMalformed)
	_, err = DecodeAssignment([]byte{1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f})
	require.ErrorIs(t, err, ErrMalformed)
	_, err = DecodeAssignment([]byte{0})
	require.ErrorIs(t, err, ErrVersion)
}

func TestCommonVersion(t *testing.T) {
	require.EqualValues(t, Version, CommonVersion(nil))
	require.EqualValues(t, 1, CommonVersion([]Subscription{{Version: 1}, {Version: 1}}))
}

func FuzzDecodeSubscription(f *testing.F) {
	f.Add(AppendSubscription(nil, exampleSubscription()))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSubscription(data)
		if err != nil {
			return
		}
		again, err := DecodeSubscription(AppendSubscription(nil, s))
		require.NoError(t, err)
		require.Equal(t, s, again)
	})
}

func FuzzDecodeAssignment(f *testing.F) {
	f.Add(AppendAssignment(nil, exampleAssignment()))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := DecodeAssignment(data)
		if err != nil {
			return
		}
		again, err := DecodeAssignment(AppendAssignment(nil, a))
		require.NoError(t, err)
		require.Equal(t, a, again)
	})
}
