package tidemarktest_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/record"
	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/tidemarktest"
	"github.com/tidemarkio/tidemark/topology"
)

// dependent is a serde of strings that needs something from outside, which may be gone.
type dependent struct{ gone *bool }

func (d dependent) Append(dst []byte, v string) ([]byte, error) {
	if *d.gone {
		return dst, &serde.UnavailableError{What: "the registry", Err: errors.New("connection refused")}
	}
	return append(dst, v...), nil
}

func (d dependent) Decode(data []byte) (string, error) {
	if *d.gone {
		return "", &serde.UnavailableError{What: "the registry", Err: errors.New("connection refused")}
	}
	return string(data), nil
}

// Handlers that let bad records pass are not asked while what a serde needs is gone, wherever the serde is: nothing is
// skipped, and everything is there once it is back.
func TestUnavailableSerdeLosesNothing(t *testing.T) {
	for _, c := range []struct {
		name  string
		build func(b *topology.Builder, s serde.Serde[string])
	}{
		{"source key", func(b *topology.Builder, s serde.Serde[string]) {
			topology.Stream(b, "in", s, serde.String).To("out")
		}},
		{"source value", func(b *topology.Builder, s serde.Serde[string]) {
			topology.Stream(b, "in", serde.String, s).To("out")
		}},
		{"sink", func(b *topology.Builder, s serde.Serde[string]) {
			topology.MapValues(topology.Stream(b, "in", serde.String, serde.String),
				func(v string) string { return v }, s).To("out")
		}},
		{"store key", func(b *topology.Builder, s serde.Serde[string]) {
			topology.Table(b, "in", s, serde.String, topology.As("store")).ToStream().To("out")
		}},
		{"store value", func(b *topology.Builder, s serde.Serde[string]) {
			topology.Reduce(topology.MapValues(topology.Stream(b, "in", serde.String, serde.String),
				func(v string) string { return v }, s).GroupByKey(),
				func(_, v string) string { return v }, topology.As("store")).ToStream().To("out")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			gone := false
			b := topology.NewBuilder()
			c.build(b, dependent{&gone})
			asked := func(processor.Failure) processor.Action {
				t.Error("a handler was asked")
				return processor.ContinueAction()
			}
			d := tidemarktest.New(t, b, tidemarktest.WithHandlers(asked, asked))
			in := tidemarktest.Input(d, "in", serde.String, serde.String)
			out := tidemarktest.Output(d, "out", serde.String, serde.String)

			gone = true
			err := in.TryPipe("k", "v", 1)
			if err == nil {
				err = d.TryCommit() // a store encodes when the epoch is sealed
			}
			var unavailable *serde.UnavailableError
			require.ErrorAs(t, err, &unavailable)

			gone = false
			d.Crash() // the application starts again from its last commit
			require.Equal(t, []record.Record[string, string]{{Key: "k", Value: "v", Timestamp: 1}}, out.ReadAll())
		})
	}
}
