package topology_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

func TestPrint(t *testing.T) {
	var out bytes.Buffer
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	s.Print(&out, topology.WithLabel("label"), topology.Named("printer"))
	s.Print(&out)
	s.Print(&out, topology.WithFormat(func(r textRecord) string { return fmt.Sprint(r.Key, "@", r.Timestamp) }))
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	d.pipe("in", kv("-", "-", 2))
	require.Equal(t, strings.Join([]string{
		"[label]: k, v",
		"[KSTREAM-SOURCE-0000000000]: k, v",
		"[KSTREAM-SOURCE-0000000000]: k@1",
		"[label]: null, null",
		"[KSTREAM-SOURCE-0000000000]: null, null",
		"[KSTREAM-SOURCE-0000000000]: @2",
		"",
	}, "\n"), out.String())
}

type celsius int

func (c *celsius) String() string { return fmt.Sprintf("%d degrees", *c) }

func TestPrintTypes(t *testing.T) {
	var out bytes.Buffer
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.Nullable(serde.String), serde.Bytes)
	s.Print(&out, topology.WithLabel("1"))
	topology.MapValues(s, func(v []byte) *celsius {
		c := celsius(len(v))
		return &c
	}, nil).Print(&out, topology.WithLabel("2"))
	topology.MapValues(s, func(v []byte) float64 { return float64(len(v)) / 2 }, nil).Print(&out, topology.WithLabel("3"))
	d := run(t, b, false)
	d.pipe("in", kv("k", "v", 1))
	d.pipe("in", kv("-", "", 2))
	require.Equal(t, "[1]: k, v\n[2]: k, 1 degrees\n[3]: k, 0.5\n[1]: null, \n[2]: null, 0 degrees\n[3]: null, 0\n",
		out.String())
}

// TestPrintOfSeveralTasks lets two tasks of a plan print to one buffer; the race detector looks on.
func TestPrintOfSeveralTasks(t *testing.T) {
	const records = 100
	var (
		out   bytes.Buffer
		tasks sync.WaitGroup
	)
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).Print(&out, topology.WithLabel("a"))
	topology.Stream(b, "other", serde.String, serde.String).Print(&out, topology.WithLabel("b"))
	plan := b.MustBuild()
	for _, topic := range []string{"in", "other", "in", "other"} {
		d, err := start(t, plan, false)
		require.NoError(t, err)
		tasks.Go(func() {
			for range records {
				_ = d.tryPipe(topic, kv("k", "v", 1))
			}
		})
	}
	tasks.Wait()
	require.Equal(t, 2*records, strings.Count(out.String(), "[a]: k, v\n"))
	require.Equal(t, 2*records, strings.Count(out.String(), "[b]: k, v\n"))
}

var errWrite = errors.New("cannot write")

type fullWriter struct{}

func (fullWriter) Write([]byte) (int, error) { return 0, errWrite }

func TestPrintErrors(t *testing.T) {
	b := topology.NewBuilder()
	topology.Stream(b, "in", serde.String, serde.String).Print(fullWriter{}, topology.Named("printer"))
	err := run(t, b, false).tryPipe("in", kv("k", "v", 1))
	user, ok := errors.AsType[*processor.UserError](err)
	require.True(t, ok)
	require.Equal(t, "printer", user.Node)
	require.ErrorIs(t, err, errWrite)
}

func TestPrintMistakes(t *testing.T) {
	b := topology.NewBuilder()
	s := topology.Stream(b, "in", serde.String, serde.String)
	s.Print(nil)
	s.Print(fullWriter{}, topology.WithFormat[string, string](nil))
	s.Print(fullWriter{}, topology.WithFormat[int, int](nil))
	_, err := b.Build()
	require.ErrorContains(t, err, "print_test.go:")
	require.ErrorContains(t, err, "Print: the writer is nil")
	require.ErrorContains(t, err, "Print: the function is nil")
	require.ErrorContains(t, err,
		"Print: WithFormat: topology.PrintFormat[int,int] is not for keys of type string and values of type string")
}
