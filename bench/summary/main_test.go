package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestReport(t *testing.T) {
	t.Parallel()
	lines, err := read(filepath.Join("testdata", "lines.jsonl"))
	require.NoError(t, err)
	var out strings.Builder
	report(&out, lines)
	for _, want := range []string{
		"| count | uniform | tidemark | eos | 100 | 1 | true | 2, 1 noisy left out | 1000 / **2000** / 2000 |",
		" 1.00 / **3.00** / 3.00 |",
		"| 4 |\n", // three from Verify, one for the run that Verify did not judge
		"| count | uniform | kafka-streams | eos | 100 | 1 | true | 1 | 250 | 30.00 |",
		"| 2000000 | tidemark | default | clean | 1 | 1.50 |",
		"count, records/s: tidemark is at 8.00 of kafka-streams (2000.00 to 250.00",
	} {
		require.Contains(t, out.String(), want)
	}
}
