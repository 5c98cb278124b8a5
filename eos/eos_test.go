package eos_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/eos"
	"github.com/tidemarkio/tidemark/record"
)

// TestMetadataTextIsPinned fails if the text of an unchanged version changes: older and newer members read it.
func TestMetadataTextIsPinned(t *testing.T) {
	for text, m := range map[string]eos.Metadata{
		"1;app-p-0;42;1700000000000;": {TransactionalID: "app-p-0", Epoch: 42, StreamTime: 1_700_000_000_000},
		"1;;1;-1;":                    {Epoch: 1, StreamTime: -1},
		"1;a;18446744073709551615;0;app-host-1": {
			TransactionalID: "a", Epoch: 1<<64 - 1, Departed: "app-host-1",
		},
	} {
		require.Equal(t, text, m.Encode())
		parsed, err := eos.ParseMetadata(text)
		require.NoError(t, err)
		require.Equal(t, m, parsed)
	}
}

func TestForeignMetadata(t *testing.T) {
	for _, s := range []string{
		"", "1", "2;a;1;1;", "1;a;1;1", "1;a;1;1;;", "1;a;-1;1;", "1;a;x;1;", "1;a;1;x;",
		"AgAAAZ",
	} {
		m, err := eos.ParseMetadata(s)
		require.ErrorIs(t, err, eos.ErrForeignMetadata, s)
		require.Equal(t, eos.Metadata{StreamTime: -1}, m, "nothing but the offset is known")
	}
}

// FuzzParseMetadata checks that what parses comes back.
func FuzzParseMetadata(f *testing.F) {
	for _, s := range []string{
		"1;app-p-0;42;1700000000000;", "1;;0;-1;x", "", "1;;;;", "1;a;+1;1;",
		"2;a;1;2;d;7;120:0_1=k,2_0=0", "2;a;1;2;;0;120:",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		m, err := eos.ParseMetadata(s)
		if err != nil {
			require.ErrorIs(t, err, eos.ErrForeignMetadata)
			return
		}
		again, err := eos.ParseMetadata(m.Encode())
		require.NoError(t, err)
		require.Equal(t, m, again)
	})
}

func TestClassify(t *testing.T) {
	large := &eos.RecordTooLargeError{Err: errors.New("refused")}
	for _, c := range []struct {
		err  error
		want eos.Class
	}{
		{nil, eos.ClassNone},
		{errors.New("anything"), eos.ClassAborted},
		{eos.ErrAborted, eos.ClassAborted},
		{eos.ErrGeneration, eos.ClassGeneration},
		{eos.ErrUnknownOutcome, eos.ClassUnknownOutcome},
		{eos.ErrFenced, eos.ClassFenced},
		{eos.ErrFatal, eos.ClassFatal},
		{large, eos.ClassRecord},
		{errors.Join(eos.ErrAborted, eos.ErrFenced), eos.ClassFenced},
		{errors.Join(eos.ErrAborted, eos.ErrFatal), eos.ClassFatal},
		{errors.Join(eos.ErrUnknownOutcome, eos.ErrAborted), eos.ClassUnknownOutcome},
	} {
		require.Equal(t, c.want, eos.Classify(c.err), "%v", c.err)
		if c.err != nil {
			require.Equal(t, c.want, eos.Classify(fmt.Errorf("wrapped: %w", c.err)))
		}
	}
}

func TestRecordTooLargeError(t *testing.T) {
	cause := errors.New("refused")
	tp := record.TopicPartition{Topic: "t", Partition: 2}
	err := &eos.RecordTooLargeError{TopicPartition: tp, SizeBytes: 10, Err: cause}
	require.ErrorIs(t, err, cause)
	require.ErrorContains(t, err, "10 bytes for t-2 exceeds the broker's max.message.bytes")
	err.LimitBytes = 5
	require.ErrorContains(t, err, "the limit of 5 bytes")
	require.ErrorContains(t, err, "OnProductionError")
}

func TestGuaranteeNames(t *testing.T) {
	require.Equal(t, "exactly_once_v2", eos.ExactlyOnceV2.String())
	require.Equal(t, "at_least_once", eos.AtLeastOnce.String())
	require.Equal(t, "unknown", eos.Guarantee(7).String())
	require.Zero(t, eos.ExactlyOnceV2, "the zero value of a Config is exactly once")
}
