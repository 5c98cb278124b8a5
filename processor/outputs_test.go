package processor_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
)

type collector[K, V any] struct {
	name string
	to   *[]string
	err  error
}

func (c *collector[K, V]) Receive(record.Record[K, V]) error {
	*c.to = append(*c.to, c.name)
	return c.err
}

func TestOutputsForwardInOrderUntilAnError(t *testing.T) {
	var (
		out  processor.Outputs[string, int]
		seen []string
		bad  = errors.New("bad")
	)
	require.NoError(t, out.Forward(record.Record[string, int]{}), "no children")
	a, b := &collector[string, int]{name: "a", to: &seen}, &collector[string, int]{name: "b", to: &seen}
	require.NoError(t, out.Attach("a", a))
	require.NoError(t, out.Forward(record.Record[string, int]{}))
	require.NoError(t, out.Attach("b", b))
	require.NoError(t, out.Forward(record.Record[string, int]{}))
	require.Equal(t, []string{"a", "a", "b"}, seen)
	require.Equal(t, 2, out.Len())
	a.err = bad
	require.ErrorIs(t, out.Forward(record.Record[string, int]{}), bad)
	require.Equal(t, []string{"a", "a", "b", "a"}, seen)
}

func TestOutputsNameBothTypes(t *testing.T) {
	var out processor.Outputs[string, int]
	require.EqualError(t, out.Attach("child", &collector[string, bool]{}),
		`processor: node "child" takes record.Record[string,bool], but its parent gives record.Record[string,int]`)
	require.EqualError(t, out.Attach("child", 1),
		`processor: node "child" takes no records (int), but its parent gives record.Record[string,int]`)
	require.ErrorContains(t, out.Attach("child", nil), "takes nothing")
}

func BenchmarkForward(b *testing.B) {
	var (
		out processor.Outputs[string, int]
		n   counter
	)
	require.NoError(b, out.Attach("n", &n))
	r := record.Record[string, int]{Key: "k"}
	b.ReportAllocs()
	for b.Loop() {
		if err := out.Forward(r); err != nil {
			b.Fatal(err)
		}
	}
}

type counter int

func (c *counter) Receive(record.Record[string, int]) error {
	*c++
	return nil
}
