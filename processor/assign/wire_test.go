package assign

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
)

// The golden bytes pin the format: a change of them needs a new version (docs/format).
const (
	goldenSubscription = "03" + goldenFields + "ac02" + "01" // inputs, leaving
	goldenFields       = "0470726f63" + "0466703031" + "08" +
		"02" + "00" + "01" + "03" + "00" + "01" + "8002" + // owned: 0_3, 1_256
		"01" + "00" + "03" + "04" + "00" + "01" + // previous: 0_4, 0_5, 0_7
		"02" + // attempt
		"e907" + "00" + "01" + // positions: 1000, unknown, 0
		"01" + "00" + "02" + "04" + "02" + // following: 0_4, 0_7
		"01" + "00" + "01" + "07" + // warming: 0_7
		"01" + "00" + "01" + "07" + // ready: 0_7
		"03683a31" + // endpoint
		"01" + "047a6f6e65" + "0161" // tags
	goldenAssignment = "03" + goldenAssigned + "ac02" + "01"
	goldenAssigned   = "0466703031" + "07" + "02" + "00" + "01" + "03" + "00" + "01" + "8002" + "00" +
		"01" + "00" + "01" + "05" + "01" + "01" + "01" + "00" + "01"
	goldenRefusal = "03" + "0466703032" + "07" + "00" + "036e6f21" + "00" + "00" + "00" + "00" + "00"
)

func exampleSubscription() Subscription {
	return Subscription{
		Version: Version, ProcessID: "proc", Fingerprint: "fp01", Workers: 8,
		Owned: []record.TaskID{id(0, 3), id(1, 256)}, Previous: []record.TaskID{id(0, 4), id(0, 5), id(0, 7)},
		Attempt: 2, Positions: map[record.TaskID]int64{id(0, 4): 1000, id(0, 7): 0},
		Following: []record.TaskID{id(0, 4), id(0, 7)}, Warming: []record.TaskID{id(0, 7)},
		Ready: []record.TaskID{id(0, 7)}, Endpoint: "h:1", Tags: map[string]string{"zone": "a"}, Inputs: 300,
		Leaving: true,
	}
}

func exampleAssignment() Assignment {
	return Assignment{
		Version: Version, Fingerprint: "fp01", Total: 7, Tasks: []record.TaskID{id(0, 3), id(1, 256)},
		Standby: []record.TaskID{id(0, 5)}, Warmup: []record.TaskID{id(1, 0)}, Pending: true, Inputs: 300,
		Leave: true,
	}
}

func TestSubscriptionGolden(t *testing.T) {
	data := AppendSubscription(nil, exampleSubscription())
	require.Equal(t, goldenSubscription, hex.EncodeToString(data))
	got, err := DecodeSubscription(data)
	require.NoError(t, err)
	require.Equal(t, exampleSubscription(), got)
	m := got.Member("m", "one", 5)
	require.Equal(t, Member{
		ID: "m", InstanceID: "one", Generation: 5, ProcessID: got.ProcessID, Workers: got.Workers,
		Fingerprint: got.Fingerprint, Owned: got.Owned, Previous: got.Previous, Positions: got.Positions,
		Following: got.Following, Warming: got.Warming, Ready: got.Ready, Tags: got.Tags, Leaving: true,
	}, m)
}

func TestSubscriptionIsASet(t *testing.T) {
	s := Subscription{
		Previous:  []record.TaskID{id(2, 1), id(0, 9), id(2, 1), id(0, 0)},
		Positions: map[record.TaskID]int64{id(2, 1): 7, id(0, 0): -4, id(0, 9): math.MaxInt64, id(5, 5): 1},
	}
	got, err := DecodeSubscription(AppendSubscription(nil, s))
	require.NoError(t, err)
	require.Equal(t, []record.TaskID{id(0, 0), id(0, 9), id(2, 1)}, got.Previous)
	require.Equal(t, map[record.TaskID]int64{id(2, 1): 7}, got.Positions, "only what can be known")
}

func TestAssignmentGolden(t *testing.T) {
	refusal := Assignment{Version: Version, Fingerprint: "fp02", Total: 7, Refusal: "no!"}
	for want, a := range map[string]Assignment{goldenAssignment: exampleAssignment(), goldenRefusal: refusal} {
		data := AppendAssignment(nil, a)
		require.Equal(t, want, hex.EncodeToString(data))
		got, err := DecodeAssignment(data)
		require.NoError(t, err)
		require.Equal(t, a, got)
	}
	long := AppendAssignment(nil, Assignment{Version: Version, Refusal: strings.Repeat("x", 2*stringBytesMax)})
	got, err := DecodeAssignment(long)
	require.NoError(t, err)
	require.Len(t, got.Refusal, stringBytesMax)

	got, err = DecodeAssignment(nil)
	require.NoError(t, err)
	require.Empty(t, got.Tasks)
}

func TestDecodeErrors(t *testing.T) {
	for name, good := range map[string][]byte{
		"subscription": AppendSubscription(nil, exampleSubscription()),
		"assignment":   AppendAssignment(nil, exampleAssignment()),
	} {
		decode := func(data []byte) error {
			if name == "subscription" {
				_, err := DecodeSubscription(data)
				return err
			}
			_, err := DecodeAssignment(data)
			return err
		}
		require.NoError(t, decode(good))
		err := decode(append([]byte{1}, good[1:]...))
		require.ErrorIs(t, err, ErrVersion)
		require.ErrorContains(t, err, name+": unknown version 1, this build reads 2 and later: upgrade the older members")
		for n := range good {
			if n > 0 || name == "subscription" {
				require.ErrorIs(t, decode(good[:n]), ErrMalformed, "%d bytes", n)
			}
		}
		require.ErrorIs(t, decode(append(good, 0)), ErrMalformed)
	}
	for what, data := range map[string][]byte{
		"many sub-topologies": {2, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"many tasks":          {2, 0, 0, 1, 0, 0xff, 0xff, 0x03},
		"no task":             {2, 0, 0, 1, 0, 0, 0, 0, 0, 0},
		"large partition":     {2, 0, 0, 1, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"partitions overflow": {2, 0, 0, 1, 0, 2, 0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0, 0, 0},
		"a flag of two":       {2, 0, 0, 0, 0, 0, 0, 2},
	} {
		_, err := DecodeAssignment(data)
		require.ErrorIs(t, err, ErrMalformed, what)
	}
}

// appendNewer turns data into that of the next version: with two fields that this build does not know.
func appendNewer(data []byte) []byte {
	data[0] = Version + 1
	return binary.AppendUvarint(appendString(data, "a field of the future"), 99)
}

// TestRollingUpgrade has members of this version and of the next in one group, and either lead it.
func TestRollingUpgrade(t *testing.T) {
	newer, err := DecodeSubscription(appendNewer(AppendSubscription(nil, exampleSubscription())))
	require.NoError(t, err, "an older leader reads what a newer member writes")
	want := exampleSubscription()
	want.Version = Version + 1
	require.Equal(t, want, newer)

	require.EqualValues(t, Version, CommonVersion(nil))
	require.EqualValues(t, Version, CommonVersion([]Subscription{newer}), "and answers in its own version")
	require.EqualValues(t, Version, CommonVersion([]Subscription{newer, exampleSubscription()}))

	a, err := DecodeAssignment(appendNewer(AppendAssignment(nil, exampleAssignment())))
	require.NoError(t, err, "an older member reads what a newer leader writes, should it be from the coordinator's memory")
	wantA := exampleAssignment()
	wantA.Version = Version + 1
	require.Equal(t, wantA, a)
}

// TestGroupFitsMessage writes down what 100 members with 10,000 tasks say: the coordinator keeps it in one record, with
// the partitions that the protocol of consumers lists beside it, and brokers limit a record to a megabyte by default.
func TestGroupFitsMessage(t *testing.T) {
	tasks, members, o := largeGroup(t)
	p, err := Place(tasks, members, o)
	require.NoError(t, err)
	subscriptions, assignments := 0, 0
	for i := range members {
		m := &members[i]
		subscriptions += len(AppendSubscription(nil, Subscription{
			ProcessID: strings.Repeat("p", 36), Fingerprint: strings.Repeat("f", 64), Workers: m.Workers, Owned: m.Owned,
			Previous: m.Previous, Positions: m.Positions, Following: m.Following,
			Endpoint: fmt.Sprintf("instance-%d.tidemark.svc.cluster.local:8080", i), Tags: m.Tags,
		}))
		assignments += len(AppendAssignment(nil, Assignment{
			Version: Version, Fingerprint: strings.Repeat("f", 64), Total: len(tasks), Tasks: p.Active[m.ID],
			Standby: p.Standby[m.ID], Warmup: p.Warmup[m.ID],
		}))
	}
	// Each partition of an input takes four bytes, in what is owned and in what is assigned; two inputs a task.
	protocol := len(tasks) * 2 * 4 * 2
	t.Logf("%d tasks, %d members: subscriptions %d bytes, assignments %d bytes, partitions %d bytes",
		len(tasks), len(members), subscriptions, assignments, protocol)
	require.Less(t, subscriptions+assignments+protocol, 1_000_000)
}

// TestVersion2 reads and writes what members of the version before do.
func TestVersion2(t *testing.T) {
	old, err := hex.DecodeString("02" + goldenFields)
	require.NoError(t, err)
	got, err := DecodeSubscription(old)
	require.NoError(t, err)
	want := exampleSubscription()
	want.Version, want.Inputs, want.Leaving = 2, 0, false
	require.Equal(t, want, got)
	require.EqualValues(t, 2, CommonVersion([]Subscription{exampleSubscription(), got}))

	answer := exampleAssignment()
	answer.Version = 2
	data := AppendAssignment(nil, answer)
	require.Equal(t, "02"+goldenAssigned, hex.EncodeToString(data), "nothing that it does not know")
	a, err := DecodeAssignment(data)
	require.NoError(t, err)
	answer.Inputs, answer.Leave = 0, false
	require.Equal(t, answer, a)
}

func FuzzDecodeSubscription(f *testing.F) {
	f.Add(AppendSubscription(nil, exampleSubscription()))
	f.Add(appendNewer(AppendSubscription(nil, exampleSubscription())))
	f.Add([]byte{Version})
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := DecodeSubscription(data)
		if err != nil {
			return
		}
		again, err := DecodeSubscription(AppendSubscription(nil, s))
		require.NoError(t, err)
		s.Version = Version
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
