package topology_test

import (
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// TestSelfJoinWithOneStore compares a join of a stream with itself, in one store, with one of two equal streams.
func TestSelfJoinWithOneStore(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		t.Run(strconv.FormatUint(seed, 10), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 3))
			m := randomModel(rnd, "inner")
			w := topology.Within(0).Before(time.Duration(m.before) * ms).After(time.Duration(m.after) * ms).
				Grace(time.Duration(m.grace) * ms)
			declare := func(two bool) joinDriver {
				b := topology.NewBuilder()
				left := topology.Stream(b, "in", serde.String, serde.String)
				right := left
				if two {
					all := func(string, string) bool { return true }
					left, right = left.Filter(all), left.Filter(all)
				}
				topology.Join(left, right, func(l, r string) string { return l + "|" + r }, w, nil).To("out")
				require.Equal(t, two, strings.Contains(topology.Describe(b.MustBuild()), "OTHER"))
				return newJoinDriver(t, b)
			}
			one, two := declare(false), declare(true)
			now := int64(0)
			for i := range 200 {
				now = max(0, now+rnd.Int64N(14)-4)
				r := randomRecord(rnd, now, i)
				require.Equal(t, two.pipe("in", r.key, r.value, r.ts), one.pipe("in", r.key, r.value, r.ts), "%+v", r)
			}
		})
	}
}

// TestNamesOfStreamJoins checks the names that Kafka Streams gives.
func TestNamesOfStreamJoins(t *testing.T) {
	t.Parallel()
	same := func(k, v string) (string, string) { return k, v }
	declare := func(outer bool, opts ...topology.StreamJoinOption) string {
		b := topology.NewBuilder()
		left := topology.Map(topology.Stream(b, "left", serde.String, serde.String), same, nil, nil)
		right := topology.Map(topology.Stream(b, "right", serde.String, serde.String), same, nil, nil)
		w := topology.Within(time.Second)
		if outer {
			topology.OuterJoin(left, right, func(l, _ topology.Optional[string]) string { return l.Value }, w, nil, opts...)
		} else {
			topology.LeftJoin(left, right, func(l string, _ topology.Optional[string]) string { return l }, w, nil, opts...)
		}
		return topology.Describe(b.MustBuild())
	}
	for name, c := range map[string]struct {
		description string
		want        []string
	}{
		"generated": {declare(false), []string{
			"KSTREAM-MAP-0000000001-repartition", "KSTREAM-MAP-0000000003-repartition",
			"KSTREAM-WINDOWED-0000000010 (stores: [KSTREAM-JOINTHIS-0000000012-store])",
			"KSTREAM-WINDOWED-0000000011 (stores: [KSTREAM-OUTEROTHER-0000000013-store])",
			"KSTREAM-JOINTHIS-0000000012 (stores: [KSTREAM-OUTEROTHER-0000000013-store, KSTREAM-OUTERSHARED-0000000012-store])",
			"KSTREAM-OUTEROTHER-0000000013 (stores: [KSTREAM-JOINTHIS-0000000012-store, KSTREAM-OUTERSHARED-0000000012-store])",
			"KSTREAM-MERGE-0000000014",
		}},
		"given": {declare(true, topology.Named("pay"), topology.As("kept")), []string{
			"pay-left-repartition", "pay-right-repartition", "pay-merge",
			"pay-this-windowed (stores: [kept-outer-this-join-store])",
			"pay-other-windowed (stores: [kept-outer-other-join-store])",
			"pay-outer-this-join (stores: [kept-outer-other-join-store, kept-outer-shared-join-store])",
			"pay-outer-other-join (stores: [kept-outer-this-join-store, kept-outer-shared-join-store])",
		}},
	} {
		for _, want := range c.want {
			require.Contains(t, c.description, want, name)
		}
	}
}

func TestStreamJoinMistakes(t *testing.T) {
	t.Parallel()
	for want, w := range map[string]topology.JoinWindows{
		"whole milliseconds":         topology.Within(time.Microsecond),
		"sum must not be negative":   topology.Within(time.Second).After(-2 * time.Second),
		"a grace of -1s is negative": topology.Within(time.Second).Grace(-time.Second),
	} {
		_, err := joinStreams("inner", false, w).Build()
		require.ErrorContains(t, err, want)
	}
	_, err := joinStreams("inner", false, topology.Within(1), topology.Retention(time.Hour)).Build()
	require.ErrorContains(t, err, "as long as its windows say")
}
