package tidemark

import (
	"bytes"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/store"
)

// The golden bytes pin the format: a change of them needs a new version (docs/format/query.md).
const (
	goldenAsk = "01" + "02" + "7f" + "06636f756e7473" + "06" + "08" + "00" + "0161" + "017a" + "0162" + "02" + "03" +
		"8002" + "8807" + "8094ebdc03" + "01" + "04696e2d61" + "03" + "54"
	goldenAsks = "01" + "02" + "0d" + "010100" + "0173" + "02" + "04" + "0161" + "00" + "00" + "01" + "00" +
		"0c" + "010100" + "0173" + "02" + "04" + "00" + "00" + "00" + "01" + "00"
	goldenPage = "00000017" + "50" + "01" + "01" + "00" + "00" + "01" + "04696e2d61" + "03" + "54" + "016b" + "01" + "01" +
		"016b" + "0176" + "0e" + "02" + "04"
	goldenStandby = "0000000b" + "50" + "01" + "02" + "06" + "8094ebdc03" + "00" + "00" + "00"
	goldenRefusal = "00000008" + "52" + "01" + "03" + "02" + "046c617465"
	goldenCluster = "01" + "d00f" + "01" + "03613a31" + "016d" + "0169" + "0170" + "01" + "0003" + "01" + "0004" + "02" +
		"06636f756e7473" + "096b65792d76616c7565" + "00" + "00" + "08" + "10" + "0167" + "096b65792d76616c7565" + "01" +
		"01" + "00" + "00"
)

func exampleAsk() ask {
	return ask{
		store: "counts", partition: 3, partitions: 4, stale: &StaleBound{MaxLag: 452, MaxAge: 500 * time.Millisecond},
		atLeast: Position{record.TopicPartition{Topic: "in-a", Partition: 3}: 42},
		question: store.Question{
			Kind: store.AskKeys, Key: []byte{}, Lo: []byte("a"), Hi: []byte("z"), After: []byte("b"), Prefix: true,
			Reverse: true, Uncommitted: true, From: 1, To: -2, Limit: 256,
		},
	}
}

func TestAskGolden(t *testing.T) {
	t.Parallel()
	q := exampleAsk()
	encoded := appendAsk(nil, &q)
	require.Equal(t, goldenAsk, hex.EncodeToString(encoded))
	back, err := decodeAsk(encoded)
	require.NoError(t, err)
	require.Equal(t, q, back)
	for i := range encoded {
		_, err := decodeAsk(encoded[:i])
		require.ErrorIs(t, err, errWire, "cut at %d", i)
	}
	for _, bad := range []string{"02", "0109", "0100" + goldenAsk[4:], goldenAsk + "00", "0102ff" + goldenAsk[6:]} {
		raw, err := hex.DecodeString(bad)
		require.NoError(t, err)
		_, err = decodeAsk(raw)
		require.ErrorIs(t, err, errWire, bad)
	}
}

func exampleAsks() []*oneRow {
	var batch []*oneRow
	for _, key := range []string{"a", ""} {
		q := ask{store: "s", partition: 1, partitions: 2, question: store.Question{
			Kind: store.AskKey, Key: []byte(key), Limit: 1,
		}}
		batch = append(batch, &oneRow{q: &q, asks: appendAsk(nil, &q)})
	}
	return batch
}

func TestAsksGolden(t *testing.T) {
	t.Parallel()
	batch := exampleAsks()
	encoded := appendAsks(nil, batch)
	require.Equal(t, goldenAsks, hex.EncodeToString(encoded))
	back, err := decodeAsks(encoded)
	require.NoError(t, err)
	require.Equal(t, []ask{*batch[0].q, *batch[1].q}, back)
	for i := range encoded {
		_, err := decodeAsks(encoded[:i])
		require.ErrorIs(t, err, errWire, "cut at %d", i)
	}
	many := slices.Repeat(batch[:1], asksMax+1)
	_, err = decodeAsks(appendAsks(nil, many[1:]))
	require.NoError(t, err)
	_, err = decodeAsks(appendAsks(nil, many))
	require.ErrorIs(t, err, errWire)
	rows := exampleAsk()
	_, err = decodeAsks(appendAsks(nil, []*oneRow{{asks: appendAsk(nil, &rows)}}))
	require.ErrorIs(t, err, errWire, "not for a row")
}

func TestAnswerGolden(t *testing.T) {
	t.Parallel()
	p := reply{
		page: store.Page{Count: 1, Next: []byte("k"), Rows: []store.Row{
			{Key: []byte("k"), Value: []byte("v"), Timestamp: 7, Start: 1, End: 2},
		}},
		info: QueryInfo{Position: Position{record.TopicPartition{Topic: "in-a", Partition: 3}: 42}},
	}
	standby := reply{info: QueryInfo{Standby: true, Lag: 3, Age: 500 * time.Millisecond}}
	no := refuse(refusedBehind, Running, "late")
	require.Equal(t, goldenPage, hex.EncodeToString(appendPage(nil, &p)))
	require.Equal(t, goldenStandby, hex.EncodeToString(appendPage(nil, &standby)))
	require.Equal(t, goldenRefusal, hex.EncodeToString(appendRefusal(nil, no)))

	stream := bytes.NewReader(appendRefusal(appendPage(appendPage(nil, &p), &standby), no))
	back, err := readFrame(stream)
	require.NoError(t, err)
	require.Equal(t, p, back)
	back, err = readFrame(stream)
	require.NoError(t, err)
	standby.page.Rows = []store.Row{}
	require.Equal(t, standby, back)
	_, err = readFrame(stream)
	require.Equal(t, no, err)
	_, err = readFrame(stream)
	require.ErrorIs(t, err, io.EOF)

	_, err = readFrame(strings.NewReader("\xff\xff\xff\xffP"))
	require.ErrorIs(t, err, errWire)
	_, err = readFrame(strings.NewReader("\x0f\xff\xff\xffP only a little"))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = readFrame(strings.NewReader("\x00\x00\x00\x00?"))
	require.ErrorIs(t, err, errWire)
}

func exampleMetadata() Metadata {
	return Metadata{
		At: time.UnixMilli(1000),
		Instances: []InstanceMetadata{{
			Endpoint: "a:1", MemberID: "m", InstanceID: "i", ProcessID: "p", Active: []record.TaskID{{Partition: 3}},
			Standby: []record.TaskID{{Partition: 4}},
		}},
		Stores: []StoreMetadata{
			{Name: "counts", Type: store.TypeKeyValue, Partitions: 4, KeyWindowBytes: 8},
			{Name: "g", Type: store.TypeKeyValue, Global: true, Subtopology: -1},
		},
	}
}

func TestClusterGolden(t *testing.T) {
	t.Parallel()
	m := exampleMetadata()
	encoded := appendMetadata(nil, &m)
	require.Equal(t, goldenCluster, hex.EncodeToString(encoded))
	back, err := decodeMetadata(encoded)
	require.NoError(t, err)
	require.Equal(t, m, back)
	for i := range encoded {
		_, err := decodeMetadata(encoded[:i])
		require.ErrorIs(t, err, errWire, "cut at %d", i)
	}
}

func FuzzDecodeAsk(f *testing.F) {
	q := exampleAsk()
	f.Add(appendAsk(nil, &q))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		q, err := decodeAsk(data)
		if err != nil {
			require.ErrorIs(t, err, errWire)
			return
		}
		back, err := decodeAsk(appendAsk(nil, &q))
		require.NoError(t, err)
		require.Equal(t, q, back)
	})
}

func FuzzDecodeAsks(f *testing.F) {
	f.Add(appendAsks(nil, exampleAsks()))
	f.Fuzz(func(t *testing.T, data []byte) {
		asks, err := decodeAsks(data)
		if err != nil {
			return
		}
		var batch []*oneRow
		for i := range asks {
			batch = append(batch, &oneRow{asks: appendAsk(nil, &asks[i])})
		}
		back, err := decodeAsks(appendAsks(nil, batch))
		require.NoError(t, err)
		require.Equal(t, asks, back)
	})
}

func FuzzReadFrame(f *testing.F) {
	for _, golden := range []string{goldenPage, goldenStandby, goldenRefusal} {
		raw, _ := hex.DecodeString(golden)
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := readFrame(bytes.NewReader(data))
		if err != nil {
			return
		}
		back, err := readFrame(bytes.NewReader(appendPage(nil, &r)))
		require.NoError(t, err)
		require.Equal(t, r, back)
	})
}

func FuzzDecodeMetadata(f *testing.F) {
	m := exampleMetadata()
	f.Add(appendMetadata(nil, &m))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := decodeMetadata(data)
		if err == nil {
			_, err = decodeMetadata(appendMetadata(nil, &m))
			require.NoError(t, err)
		}
	})
}
