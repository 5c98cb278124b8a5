// Command conformance runs cases that Apache Kafka Streams has answered and compares: the same topology, built with our
// DSL and run by the test driver, must write the same records after every event and leave the same rows in its stores.
//
//	case (a line of JSON) ─► build.go: registry of operators ─► topology ─► tidemarktest ─► run.go: compare
//
// FORMAT.md describes the cases and what the reference does. A case with an operator that the registry does not have
// counts as failed, with "unknown operator"; a new family of operators is one more file beside stateless.go.
//
//	go run ./integration/conformance [-corpus DIR] [-group G] [-case ID] [-v]
package main

import (
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/tidemarkio/tidemark/integration/conformance/cases"
)

func main() {
	corpus := flag.String("corpus", "integration/conformance/testdata", "folder with the `files` <group>.jsonl")
	group := flag.String("group", "", "run only this `group`")
	id := flag.String("case", "", "run only the case with this `id`")
	verbose := flag.Bool("v", false, "show the cases that pass, too")
	flag.Parse()
	all, err := cases.Load(*corpus, *group, *id)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	text, failed := report(all, *verbose)
	fmt.Print(text)
	if failed > 0 {
		os.Exit(1)
	}
}

// tally counts the cases of a group.
type tally struct{ passed, failed, unknown int }

// report runs cases, which are ordered by group, and says what came of them and how many failed.
func report(all []cases.Case, verbose bool) (text string, failed int) {
	var (
		out     strings.Builder
		passed  int
		unknown = make(map[string]int)
	)
	for i := 0; i < len(all); {
		var (
			t     tally
			lines strings.Builder
			group = all[i].Group
		)
		for ; i < len(all) && all[i].Group == group; i++ {
			err := cases.Run(&all[i])
			if err == nil {
				t.passed++
				if verbose {
					fmt.Fprintf(&lines, "  %s: ok\n", all[i].ID)
				}
				continue
			}
			t.failed++
			if u, ok := errors.AsType[*cases.UnknownError](err); ok {
				t.unknown++
				unknown[u.What]++
			}
			fmt.Fprintf(&lines, "  %s: %v\n", all[i].ID, err)
		}
		fmt.Fprintf(&out, "%-20s %3d passed, %3d failed (%d with unknown operators)\n%s",
			group, t.passed, t.failed, t.unknown, lines.String())
		passed += t.passed
		failed += t.failed
	}
	for _, what := range slices.Sorted(maps.Keys(unknown)) {
		fmt.Fprintf(&out, "unknown operator %s: first met in %d cases\n", what, unknown[what])
	}
	fmt.Fprintf(&out, "%d passed, %d failed\n", passed, failed)
	return out.String(), failed
}
