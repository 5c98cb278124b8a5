package tidy_test

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// law says which packages of this module a folder may import. The longest matching folder counts, and a folder may
// always import what lies below itself; "..." means everything below. A folder that is not here is an error: decide
// where it stands.
var law = []struct {
	folder string
	may    []string
}{
	// The floor.
	{"record", nil},
	{"serde", []string{"record"}},
	{"serde/registry", []string{"serde"}},
	{"serde/avro", []string{"serde", "serde/registry"}},
	{"serde/jsonschema", []string{"serde", "serde/registry"}},
	{"serde/protobuf", []string{"serde", "serde/registry"}},
	// State.
	{"store", []string{"record", "serde"}},
	{"store/storetest", []string{"record", "serde", "store"}},
	// Guarantees.
	{"eos", []string{"record"}},
	{"eos/postgres", []string{"record", "eos"}},
	{"changelog", []string{"record", "store"}},
	{"checkpointing", []string{"record", "store", "checkpointing/storage"}},
	{"checkpointing/storage", []string{"checkpointing/storage"}},
	// Run time: worker > task, assign > the API and the Plan.
	{"processor", []string{"record", "serde", "store", "eos"}},
	{"processor/assign", []string{"record", "processor"}},
	{"processor/task", []string{"record", "serde", "store", "eos", "changelog", "checkpointing", "processor"}},
	{
		"processor/worker",
		[]string{
			"record", "serde", "store", "eos", "changelog", "checkpointing",
			"processor", "processor/task", "processor/assign",
		},
	},
	// Build time.
	{"topology", []string{"record", "serde", "store", "eos", "processor"}},
	// Adapters: they import the ports they fill.
	{"internal/kafka", []string{"record", "eos", "changelog", "processor", "processor/worker", "processor/assign"}},
	{"internal/memkafka", []string{"record", "eos", "changelog", "processor", "processor/worker", "processor/assign"}},
	// The front door.
	{
		".",
		[]string{
			"record", "serde", "store", "eos", "changelog", "checkpointing/...", "processor/...", "topology",
			"internal/kafka",
		},
	},
	{
		"tidemarktest",
		[]string{
			"record", "serde", "store", "eos", "changelog", "checkpointing/...", "processor/...", "topology",
			"internal/memkafka",
		},
	},
	{"internal/sim", []string{"..."}},
	// Above the front door: the root and public folders.
	{"dashboard", public},
	{"cmd", public},
	{"examples", public},
	{"bench", public},
	{"integration", append([]string{"internal/kafka"}, public...)},
	// Single-purpose helpers of everybody: the standard library only.
	{"internal/tidy", nil},
	{"internal/clock", nil},
	{"internal/fault", nil},
	{"internal/invariant", nil},
	{"internal/lifecycle", nil},
}

// public is what users may import.
var public = []string{
	".", "record", "serde/...", "store", "eos", "eos/postgres", "checkpointing/...", "processor",
	"topology", "tidemarktest", "dashboard",
}

// helpers may be imported from everywhere, also from the floor.
var helpers = []string{"internal/clock", "internal/fault", "internal/invariant", "internal/lifecycle"}

// doors are modules that only the given files and folders may import. Tests may use test libraries and the embedded
// broker.
var doors = []struct {
	module string
	at     []string
	tests  bool
}{
	{"github.com/IBM/sarama", []string{"internal/kafka", "bench", "integration"}, false},
	{"github.com/dgraph-io/badger", []string{"store/badger.go", "store/badger_test.go"}, false},
	{"github.com/stretchr/testify", []string{"integration", "store/storetest", "checkpointing/storage/storagetest"}, true},
	{"github.com/cockroachdb/datadriven", nil, true},
	{"github.com/twmb/franz-go", []string{"integration", "examples", "cmd", "serde/registry"}, true},
	// What only users of S3 pay for.
	{"github.com/aws/aws-sdk-go-v2", []string{"checkpointing/storage/s3"}, true},
	{"github.com/aws/smithy-go", []string{"checkpointing/storage/s3"}, true},
	// What only users of the command line pay for.
	{"github.com/spf13/cobra", []string{"cmd"}, true},
	{"github.com/schollz/progressbar", []string{"cmd"}, true},
	// What only users of a PostgreSQL sink pay for.
	{"github.com/jackc/pgx", []string{"eos/postgres", "integration"}, true},
	// What only users of a schema registry pay for.
	{"github.com/twmb/avro", []string{"serde/avro", "integration"}, true},
	{"github.com/google/jsonschema-go", []string{"serde/jsonschema"}, true},
	{"google.golang.org/protobuf", []string{"serde/protobuf", "store/badger.go", "integration"}, true},
}

func TestImportLaw(t *testing.T) {
	t.Parallel()
	for _, s := range loadSources(t) {
		if s.test {
			continue // a test may build whatever it needs; Go itself forbids the cycles
		}
		rule, known := ruleOf(s.folder)
		checkf(t, known, "%s: folder %s has no row in the import law (internal/tidy/law_test.go)", s.name, s.folder)
		for _, i := range s.imports {
			to, ours := strings.CutPrefix(i+"/", module+"/")
			if !ours {
				continue
			}
			to = strings.TrimSuffix(to, "/")
			if to == "" {
				to = "."
			}
			checkf(t, !known || allowed(s.folder, to, rule),
				"%s imports %s: the import law allows %s only %v (internal/tidy/law_test.go)", s.name, to, s.folder, rule)
		}
	}
}

func TestSingleDoors(t *testing.T) {
	t.Parallel()
	for _, s := range loadSources(t) {
		for _, i := range s.imports {
			for _, d := range doors {
				if !within(i, d.module) && !strings.HasPrefix(i, d.module+"/") {
					continue
				}
				checkf(t, within(s.name, d.at...) || d.tests && s.test, "%s imports %s, whose door is %v", s.name, i, d.at)
			}
		}
	}
}

func ruleOf(folder string) ([]string, bool) {
	for at := folder; ; at = path.Dir(at) {
		for _, row := range law {
			if row.folder == at && (at != "." || folder == ".") {
				return row.may, true
			}
		}
		if at == "." {
			return nil, false
		}
	}
}

func allowed(from, to string, rule []string) bool {
	if slices.Contains(helpers, to) || from != "." && within(to, from) || within(from, "bench") && within(to, "bench") ||
		within(from, "integration") && within(to, "integration") || within(from, "cmd") && within(to, "cmd", "examples") ||
		within(from, "examples") && within(to, "examples/internal") {
		return true
	}
	return slices.ContainsFunc(rule, func(may string) bool {
		parent, all := strings.CutSuffix(may, "...")
		return may == to || all && (parent == "" || within(to, strings.TrimSuffix(parent, "/")))
	})
}
