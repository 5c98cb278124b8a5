package cases

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// Text is a key or value of a case; nil is null.
type Text = *string

type text = Text

// Case is one line of the corpus.
type Case struct {
	ID       string                       `json:"id"`
	Group    string                       `json:"group"`
	Topology []Step                       `json:"topology"`
	Events   []Event                      `json:"events"`
	Outputs  []map[string]json.RawMessage `json:"outputs"`
	Stores   map[string]WantedStore       `json:"stores"`
}

// Step is one operator of a topology, with the fields of all operators.
type Step struct {
	Op        string    `json:"op,omitempty"`
	ID        string    `json:"id,omitempty"`
	Topic     string    `json:"topic,omitempty"`
	Topics    []string  `json:"topics,omitempty"`
	TSField   *int      `json:"tsField,omitempty"`
	Store     string    `json:"store,omitempty"`
	Global    bool      `json:"global,omitempty"`
	HistoryMs *int64    `json:"historyMs,omitempty"`
	From      string    `json:"from,omitempty"`
	Left      string    `json:"left,omitempty"`
	Right     string    `json:"right,omitempty"`
	Fn        string    `json:"fn,omitempty"`
	KeyFn     string    `json:"keyFn,omitempty"`
	ValueFn   string    `json:"valueFn,omitempty"`
	Init      string    `json:"init,omitempty"`
	Adder     string    `json:"adder,omitempty"`
	Subtract  string    `json:"subtractor,omitempty"`
	Type      string    `json:"type,omitempty"`
	Processor string    `json:"processor,omitempty"`
	Args      Arguments `json:"args,omitzero"`
	Kind      string    `json:"kind,omitempty"`
	FKFn      string    `json:"fkFn,omitempty"`
	GraceMs   *int64    `json:"graceMs,omitempty"`
	BeforeMs  int64     `json:"beforeMs,omitempty"`
	AfterMs   int64     `json:"afterMs,omitempty"`
	Branches  []Branch  `json:"branches,omitempty"`
	Default   string    `json:"default,omitempty"`
	Windows   Windows   `json:"windows,omitzero"`
	Emit      string    `json:"emit,omitempty"`
	Retention int64     `json:"retentionMs,omitempty"`
	Merger    string    `json:"merger,omitempty"`
	Inputs    []Input   `json:"inputs,omitempty"`
	Until     string    `json:"until,omitempty"`
	WaitMs    int64     `json:"waitMs,omitempty"`
	OnFull    string    `json:"onFull,omitempty"`

	MaxRecords *int64 `json:"maxRecords,omitempty"`
}

// Input is one of a cogroup.
type Input struct {
	From string `json:"from,omitempty"`
	Fn   string `json:"fn,omitempty"`
}

// Windows describe those of a windowedBy.
type Windows struct {
	Type         string `json:"type,omitempty"`
	SizeMs       int64  `json:"sizeMs,omitempty"`
	AdvanceMs    int64  `json:"advanceMs,omitempty"`
	GraceMs      int64  `json:"graceMs,omitempty"`
	DifferenceMs int64  `json:"differenceMs,omitempty"`
	GapMs        int64  `json:"gapMs,omitempty"`
}

// Branch is one of a split.
type Branch struct {
	ID string `json:"id,omitempty"`
	Fn string `json:"fn,omitempty"`
}

// Arguments are those of all processors.
type Arguments struct {
	IntervalMs int64  `json:"intervalMs,omitempty"`
	TTLMs      int64  `json:"ttlMs,omitempty"`
	DelayMs    int64  `json:"delayMs,omitempty"`
	DeltaMs    int64  `json:"deltaMs,omitempty"`
	BackMs     int64  `json:"backMs,omitempty"`
	AheadMs    int64  `json:"aheadMs,omitempty"`
	Announce   bool   `json:"announce,omitempty"`
	Clear      bool   `json:"clear,omitempty"`
	Pass       bool   `json:"pass,omitempty"`
	Type       string `json:"type,omitempty"`
	Max        int    `json:"max,omitempty"`
	N          int    `json:"n,omitempty"`
	Name       string `json:"name,omitempty"`
	Value      string `json:"value,omitempty"`
}

// Event is a record, or a move of the wall clock.
type Event struct {
	Topic   string    `json:"topic,omitempty"`
	Key     text      `json:"key"`
	Value   text      `json:"value"`
	TS      int64     `json:"ts"`
	Headers [][2]text `json:"headers,omitempty"`

	AdvanceWallClockMs int64 `json:"advanceWallClockMs,omitempty"`
}

// Output is a record that a topology writes.
type Output struct {
	Key     text      `json:"key"`
	Value   text      `json:"value"`
	TS      int64     `json:"ts"`
	Headers [][2]text `json:"headers,omitempty"`
}

// WantedStore is what a store must contain in the end.
type WantedStore struct {
	Type    string  `json:"type"`
	Entries []Entry `json:"entries"`
	// AsOf are the versions that are valid at AsOfTimes, of a versioned store.
	AsOf      []VersionEntry `json:"asOf"`
	AsOfTimes []int64        `json:"asOfTimes"`
}

// Entry is a row of a store; a nil TS is not compared.
type Entry struct {
	Key   text   `json:"key"`
	Start *int64 `json:"start,omitempty"`
	End   *int64 `json:"end,omitempty"`
	Value text   `json:"value"`
	TS    *int64 `json:"ts,omitempty"`
}

// VersionEntry is the version of a key that is valid at a time; a nil ValidTo is not compared.
type VersionEntry struct {
	Key     text   `json:"key"`
	AsOf    int64  `json:"asOf"`
	Value   text   `json:"value"`
	TS      int64  `json:"ts"`
	ValidTo *int64 `json:"validTo,omitempty"`
}

const lineBytesMax = 16 << 20

// Load reads the cases of a corpus: a file <group>.jsonl for each group, "" for all; one id, "" for all.
func Load(dir, group, id string) ([]Case, error) {
	pattern := "*.jsonl"
	if group != "" {
		pattern = group + ".jsonl"
	}
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("conformance: no %s in %q", pattern, dir)
	}
	slices.Sort(files)
	var cases []Case
	for _, file := range files {
		cs, err := LoadFile(file)
		if err != nil {
			return nil, err
		}
		for _, c := range cs {
			if id == "" || c.ID == id {
				cases = append(cases, c)
			}
		}
	}
	if len(cases) == 0 {
		return nil, fmt.Errorf("conformance: no case %q in %q", id, dir)
	}
	return cases, nil
}

// LoadFile reads the cases of one file.
func LoadFile(file string) (cases []Case, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, lineBytesMax)
	for lines.Scan() {
		var c Case
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			return nil, fmt.Errorf("conformance: %s: case %d: %w", file, len(cases)+1, err)
		}
		if len(c.Events) != len(c.Outputs) {
			return nil, fmt.Errorf("conformance: %s: %s has %d events and %d outputs", file, c.ID, len(c.Events), len(c.Outputs))
		}
		cases = append(cases, c)
	}
	return cases, lines.Err()
}
