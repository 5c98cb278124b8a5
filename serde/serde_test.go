package serde_test

import (
	"encoding/hex"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
)

// TestJavaBytes pins the encodings against what the serializers of Kafka's Java client write.
func TestJavaBytes(t *testing.T) {
	check(t, serde.String, "Grüße", "4772c3bcc39f65")
	check(t, serde.String, "", "")
	check(t, serde.Bytes, []byte{0, 255}, "00ff")
	check(t, serde.Bytes, []byte{}, "")
	check(t, serde.Int64, int64(1), "0000000000000001")
	check(t, serde.Int64, int64(math.MinInt64), "8000000000000000")
	check(t, serde.Int64, int64(-2), "fffffffffffffffe")
	check(t, serde.Int32, int32(258), "00000102")
	check(t, serde.Int32, int32(-1), "ffffffff")
	check(t, serde.Float64, 1.0, "3ff0000000000000")
	check(t, serde.Float64, -0.5, "bfe0000000000000")
	check(t, serde.Bool, true, "01")
	check(t, serde.Bool, false, "00")
	check(t, serde.JSON[map[string]int](), map[string]int{"a": 1}, hex.EncodeToString([]byte(`{"a":1}`)))
}

func check[T any](t *testing.T, s serde.Serde[T], v T, want string) {
	t.Helper()
	got, err := s.Append([]byte("prefix"), v)
	require.NoError(t, err)
	require.Equal(t, "prefix", string(got[:6]))
	require.Equal(t, want, hex.EncodeToString(got[6:]))
	back, err := s.Decode(got[6:])
	require.NoError(t, err)
	require.Equal(t, v, back)
}

func TestWrongData(t *testing.T) {
	_, err := serde.Int64.Decode([]byte("twelve bytes"))
	require.EqualError(t, err, `serde: int64: want 8 byte(s), got 12: "twelve bytes" (was it written with another serde?)`)
	_, err = serde.Int32.Decode(make([]byte, 20))
	require.ErrorContains(t, err, "want 4 byte(s), got 20")
	_, err = serde.Float64.Decode(nil)
	require.ErrorContains(t, err, "want 8 byte(s), got 0")
	_, err = serde.Bool.Decode([]byte{2})
	require.EqualError(t, err, "serde: bool: want byte 0 or 1, got 0x2")
	_, err = serde.Bool.Decode([]byte{1, 1})
	require.ErrorContains(t, err, "want 1 byte(s), got 2")
	_, err = serde.JSON[int]().Decode([]byte(`"x"`))
	require.ErrorContains(t, err, "serde: json: decode int")
	dst, err := serde.JSON[func()]().Append([]byte("keep"), nil)
	require.Error(t, err)
	require.Equal(t, "keep", string(dst))
}

func TestNullable(t *testing.T) {
	s := serde.Nullable(serde.String)
	v := "x"
	check(t, s, &v, "78")
	_, err := s.Append(nil, nil)
	require.ErrorContains(t, err, "null has no encoding")
	_, err = serde.Nullable(serde.Int64).Decode([]byte("x"))
	require.Error(t, err)
}

func TestFixedTypesDoNotAllocate(t *testing.T) {
	var (
		s   serde.Serde[int64] = serde.Int64
		buf                    = make([]byte, 0, 64)
		sum int64
	)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		data, _ := s.Append(buf, 42)
		v, _ := s.Decode(data)
		sum += v
	}))
	require.NotZero(t, sum)
}

func FuzzFixedDecode(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		roundTrip(t, serde.Int64, data)
		roundTrip(t, serde.Int32, data)
		roundTrip(t, serde.Float64, data)
		roundTrip(t, serde.Bool, data)
		roundTrip(t, serde.String, data)
		roundTrip(t, serde.Bytes, data)
	})
}

// roundTrip checks that what decodes encodes to the same bytes.
func roundTrip[T any](t *testing.T, s serde.Serde[T], data []byte) {
	t.Helper()
	v, err := s.Decode(data)
	if err != nil {
		return
	}
	again, err := s.Append(nil, v)
	require.NoError(t, err)
	require.Equal(t, string(data), string(again))
}

func TestWindowBytes(t *testing.T) {
	times := serde.TimeWindowed(serde.String, time.Minute)
	require.Equal(t, []int{8}, serde.WindowBytes(times))
	require.Equal(t, []int{16}, serde.WindowBytes(serde.SessionWindowed(serde.String)))
	require.Equal(t, []int{16, 8}, serde.WindowBytes(serde.SessionWindowed(times)))
	require.Nil(t, serde.WindowBytes(serde.String))
	require.Nil(t, serde.WindowBytes(nil))
}
