package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// text is a key or value of a case; nil is null.
type text = *string

// testCase is one line of the corpus.
type testCase struct {
	ID       string                       `json:"id"`
	Group    string                       `json:"group"`
	Topology []step                       `json:"topology"`
	Events   []event                      `json:"events"`
	Outputs  []map[string]json.RawMessage `json:"outputs"`
	Stores   map[string]wantedStore       `json:"stores"`
}

// step is one operator of a topology, with the fields of all operators.
type step struct {
	Op        string    `json:"op"`
	ID        string    `json:"id"`
	Topic     string    `json:"topic"`
	Topics    []string  `json:"topics"`
	TSField   *int      `json:"tsField"`
	Store     string    `json:"store"`
	Global    bool      `json:"global"`
	HistoryMs *int64    `json:"historyMs"`
	From      string    `json:"from"`
	Left      string    `json:"left"`
	Right     string    `json:"right"`
	Fn        string    `json:"fn"`
	KeyFn     string    `json:"keyFn"`
	ValueFn   string    `json:"valueFn"`
	Init      string    `json:"init"`
	Adder     string    `json:"adder"`
	Subtract  string    `json:"subtractor"`
	Type      string    `json:"type"`
	Processor string    `json:"processor"`
	Args      arguments `json:"args"`
	Kind      string    `json:"kind"`
	FKFn      string    `json:"fkFn"`
	GraceMs   *int64    `json:"graceMs"`
	BeforeMs  int64     `json:"beforeMs"`
	AfterMs   int64     `json:"afterMs"`
	Branches  []branch  `json:"branches"`
	Default   string    `json:"default"`
	Windows   windows   `json:"windows"`
	Emit      string    `json:"emit"`
	Retention int64     `json:"retentionMs"`
	Merger    string    `json:"merger"`
	Inputs    []input   `json:"inputs"`
	Until     string    `json:"until"`
	WaitMs    int64     `json:"waitMs"`
	OnFull    string    `json:"onFull"`

	MaxRecords *int64 `json:"maxRecords"`
}

// input is one of a cogroup.
type input struct {
	From string `json:"from"`
	Fn   string `json:"fn"`
}

// windows describe those of a windowedBy.
type windows struct {
	Type         string `json:"type"`
	SizeMs       int64  `json:"sizeMs"`
	AdvanceMs    int64  `json:"advanceMs"`
	GraceMs      int64  `json:"graceMs"`
	DifferenceMs int64  `json:"differenceMs"`
	GapMs        int64  `json:"gapMs"`
}

// branch is one of a split.
type branch struct {
	ID string `json:"id"`
	Fn string `json:"fn"`
}

// arguments are those of all processors.
type arguments struct {
	IntervalMs int64  `json:"intervalMs"`
	TTLMs      int64  `json:"ttlMs"`
	DelayMs    int64  `json:"delayMs"`
	DeltaMs    int64  `json:"deltaMs"`
	BackMs     int64  `json:"backMs"`
	AheadMs    int64  `json:"aheadMs"`
	Announce   bool   `json:"announce"`
	Clear      bool   `json:"clear"`
	Pass       bool   `json:"pass"`
	Type       string `json:"type"`
	Max        int    `json:"max"`
	N          int    `json:"n"`
	Name       string `json:"name"`
	Value      string `json:"value"`
}

// event is a record, or a move of the wall clock.
type event struct {
	Topic   string    `json:"topic,omitempty"`
	Key     text      `json:"key"`
	Value   text      `json:"value"`
	TS      int64     `json:"ts"`
	Headers [][2]text `json:"headers,omitempty"`

	AdvanceWallClockMs int64 `json:"advanceWallClockMs,omitempty"`
}

// output is a record that a topology writes.
type output struct {
	Key     text      `json:"key"`
	Value   text      `json:"value"`
	TS      int64     `json:"ts"`
	Headers [][2]text `json:"headers,omitempty"`
}

// wantedStore is what a store must contain in the end.
type wantedStore struct {
	Type    string  `json:"type"`
	Entries []entry `json:"entries"`
	// AsOf are the versions that are valid at AsOfTimes, of a versioned store.
	AsOf      []versionEntry `json:"asOf"`
	AsOfTimes []int64        `json:"asOfTimes"`
}

// entry is a row of a store; a nil TS is not compared.
type entry struct {
	Key   text   `json:"key"`
	Start *int64 `json:"start,omitempty"`
	End   *int64 `json:"end,omitempty"`
	Value text   `json:"value"`
	TS    *int64 `json:"ts,omitempty"`
}

// versionEntry is the version of a key that is valid at a time; a nil ValidTo is not compared.
type versionEntry struct {
	Key     text   `json:"key"`
	AsOf    int64  `json:"asOf"`
	Value   text   `json:"value"`
	TS      int64  `json:"ts"`
	ValidTo *int64 `json:"validTo,omitempty"`
}

const lineBytesMax = 16 << 20

// load reads the cases of a corpus: a file <group>.jsonl for each group, "" for all; one id, "" for all.
func load(dir, group, id string) ([]testCase, error) {
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
	var cases []testCase
	for _, file := range files {
		cs, err := loadFile(file)
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

func loadFile(file string) (cases []testCase, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, lineBytesMax)
	for lines.Scan() {
		var c testCase
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
