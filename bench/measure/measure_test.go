package measure_test

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/bench/measure"
)

func TestArgs(t *testing.T) {
	t.Parallel()
	a, err := measure.ParseArgs([]string{"--in", "x", "--records", "2_000_000", "--cache", "off"})
	require.NoError(t, err)
	require.Equal(t, "x", a.Get("in", "y"))
	require.Equal(t, 2_000_000, a.Int("records", 1))
	require.Equal(t, 3, a.Int("threads", 3))
	require.False(t, a.Flag("cache", true))
	require.True(t, a.Flag("other", true))
	_, err = a.Need("out")
	require.ErrorContains(t, err, "--out")
	_, err = measure.ParseArgs([]string{"--in"})
	require.ErrorContains(t, err, "--in")
}

func TestLineKeepsItsOrder(t *testing.T) {
	t.Parallel()
	var l measure.Line
	l.Put("b", 1.23456).Put("a", `x"y`).Put("n", math.NaN()).Put("i", 7).Put("t", true)
	want := `{"b":1.235,"a":"x\"y","n":null,"i":7,"t":true}`
	require.True(t, want == l.String(), "%s", l.String()) //nolint:testifylint // JSONEq would not see the order
}

func TestFiguresOfThisProcess(t *testing.T) {
	t.Parallel()
	for range 20_000_000 { // some CPU time to see
	}
	require.Positive(t, measure.SelfCPU())
	require.GreaterOrEqual(t, measure.MachineCPU(), measure.ProcessCPU(os.Getpid()))
	require.Positive(t, measure.PeakMB(0))
	require.Positive(t, measure.ResidentMB(os.Getpid()))
	require.True(t, math.IsNaN(measure.ProcessCPU(-1)))
	require.GreaterOrEqual(t, measure.Load1(), 0.0)
}

func TestDirMB(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "f"), make([]byte, 1<<19), 0o600))
	require.InEpsilon(t, 0.5, measure.DirMB(dir), 1e-9)
	require.Zero(t, measure.DirMB(filepath.Join(dir, "missing")))
}
