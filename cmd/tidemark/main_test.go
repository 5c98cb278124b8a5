package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// described writes the description of a count to a file.
func described(t *testing.T, store string) string {
	t.Helper()
	b := topology.NewBuilder()
	topology.Count(topology.Stream(b, "in", serde.String, serde.String).GroupByKey(), topology.As(store))
	data, err := topology.NewDescription(b.MustBuild()).JSON()
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), store+".json")
	require.NoError(t, os.WriteFile(file, data, 0o600))
	return file
}

func TestRun(t *testing.T) {
	n, m := described(t, "n"), described(t, "m")
	broken := filepath.Join(t.TempDir(), "broken.json")
	require.NoError(t, os.WriteFile(broken, []byte("{"), 0o600))
	for name, c := range map[string]struct {
		args []string
		code int
		want string
	}{
		"the same":      {[]string{"diff", n, n}, 0, "keeps  store n"},
		"lost":          {[]string{"diff", n, m}, exitLoss, "loses  store n: nothing uses it any more; if m is the same"},
		"no file":       {[]string{"diff", n, "missing.json"}, exitError, "missing.json"},
		"broken":        {[]string{"diff", broken, n}, exitError, "not a description of a topology"},
		"one file":      {[]string{"diff", n}, exitError, "Usage"},
		"nothing":       {nil, exitError, "Usage"},
		"unknown":       {[]string{"draw"}, exitError, `unknown command "draw"`},
		"no brokers":    {[]string{"plan"}, exitError, "Usage"},
		"no id":         {[]string{"plan", "-brokers", "127.0.0.1:1"}, exitError, "Config.ApplicationID"},
		"help":          {[]string{"diff", "-h"}, 0, "Usage"},
		"unknown flags": {[]string{"diff", "-x"}, exitError, "-x"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			require.Equal(t, c.code, run(t.Context(), c.args, &out, &out), out.String())
			require.Contains(t, out.String(), c.want)
		})
	}
}
