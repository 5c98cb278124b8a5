package topology_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

type (
	textTable = *topology.KTable[string, string]
	maybeText = topology.Optional[string]
)

func textTableOf(b *topology.Builder, topic string, opts ...topology.TableOption) textTable {
	return topology.Table(b, topic, serde.String, serde.String, opts...)
}

func textStreamOf(b *topology.Builder, topic string) *topology.KStream[string, string] {
	return topology.Stream(b, topic, serde.String, serde.String)
}

func plus(l, r string) string                { return l + "+" + r }
func plusMaybe(l string, r maybeText) string { return l + "+" + r.Or("none") }
func plusEither(l, r maybeText) string       { return l.Or("none") + "+" + r.Or("none") }

// TestJoinNames compares with what Kafka Streams 4.3.1 prints for the same programs. It orders nodes by what lies below
// them, which is left out.
func TestJoinNames(t *testing.T) {
	want, err := os.ReadFile("testdata/kafka-streams-4.3.1-joins.txt")
	require.NoError(t, err)
	id := func(v string) string { return v }
	programs := map[string]func(b *topology.Builder){
		"foreign key": func(b *topology.Builder) {
			topology.ForeignKeyJoin(textTableOf(b, "left"), textTableOf(b, "right"), id, plus, nil).ToStream().To("out")
		},
		"foreign key, named": func(b *topology.Builder) {
			topology.LeftForeignKeyJoin(textTableOf(b, "left"), textTableOf(b, "right"), id, plusMaybe, nil,
				topology.Named("fk"), topology.As("result")).ToStream().To("out")
		},
		// Joins of one stream share its repartition topic, unless they are named.
		"stream and table": func(b *topology.Builder) {
			right := textTableOf(b, "right")
			s := topology.SelectKey(textStreamOf(b, "s"), func(_, v string) string { return v }, serde.String)
			topology.JoinTable(s, right, plus, nil).To("out")
			topology.LeftJoinTable(s, right, plusMaybe, nil).To("out")
			topology.LeftJoinTable(s, right, plusMaybe, nil, topology.Named("named")).To("out")
		},
		"tables": func(b *topology.Builder) {
			left, right := textTableOf(b, "left"), textTableOf(b, "right")
			inner := topology.JoinTables(left, right.Filter(func(_, _ string) bool { return true }), plus, nil)
			outer := topology.OuterJoinTables(inner, right, plusEither, nil, topology.As("store"))
			topology.LeftJoinTables(outer, left, plusMaybe, nil, topology.Named("named")).ToStream().To("out")
		},
	}
	sections := strings.Split(string(want), "=== ")[1:]
	require.Len(t, sections, len(programs))
	for _, section := range sections {
		name, text, _ := strings.Cut(section, "\n")
		t.Run(name, func(t *testing.T) {
			require.Contains(t, programs, name)
			b := topology.NewBuilder()
			programs[name](b)
			require.Equal(t, strings.TrimSpace(withoutOrder(text)),
				strings.TrimSpace(withoutOrder(topology.Describe(b.MustBuild()))))
		})
	}
}
