package topology_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/topology"
)

func TestCountWindows(t *testing.T) {
	for name, c := range map[string]struct {
		windows topology.CountedWindows
		want    []string // of a to g
	}{
		"2": {topology.CountWindows(2), []string{"k@0/2=ab", "k@2/4=cd", "k@4/6=ef"}},
		"1": {topology.CountWindows(1), []string{
			"k@0/1=a", "k@1/2=b", "k@2/3=c", "k@3/4=d", "k@4/5=e", "k@5/6=f", "k@6/7=g",
		}},
		"3 every 2": {topology.CountWindows(3).Every(2), []string{"k@0/2=ab", "k@1/4=bcd", "k@3/6=def"}},
		"2 every 3": {topology.CountWindows(2).Every(3), []string{"k@1/3=bc", "k@4/6=ef"}},
		"4 every 1": {
			topology.CountWindows(4).Every(1),
			[]string{"k@0/1=a", "k@0/2=ab", "k@0/3=abc", "k@0/4=abcd", "k@1/5=bcde", "k@2/6=cdef", "k@3/7=defg"},
		},
		"100": {topology.CountWindows(100), nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := runWindowed(t, overWindows(c.windows, false))
			for i, v := range "abcdefg" {
				d.pipe("k", string(v), int64(100-i)) // time plays no part
				d.Commit()
				d.Crash()
			}
			require.Equal(t, c.want, d.take())
		})
	}
}

func TestCountWindowsOfKeysAndNulls(t *testing.T) {
	d := runWindowed(t, func(_ *topology.Builder, g groupedInput) windowedTable {
		reduced := topology.Reduce(topology.WindowedBy(g, topology.CountWindows(2)), func(a, b string) string {
			if b == "x" {
				return b
			}
			return a + b
		})
		return reduced
	})
	d.pipe("a", "1", 5)
	d.pipe("b", "2", 9)
	d.pipe("a", "3", 1)
	require.Equal(t, []string{"a@0/2=13"}, d.take())
	d.pipe("b", "x", 2)
	require.Equal(t, []string{"b@0/2=x"}, d.take())
}
