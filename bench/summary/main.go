// Command summary turns the result lines of the benchmark programs into Markdown tables: min / median / max of each
// group.
//
//	summary FILE...
//
// Runs in which other processes took more than 0.3 CPU seconds a second are left out where a group has calmer ones,
// else kept and marked. The column "wrong" adds up what Verify found; anything but 0 makes a line worthless.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// line is one result. Fields that a program did not print are absent.
type line map[string]any

func (l line) text(name string) string {
	switch v := l[name].(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

func (l line) number(name string) (float64, bool) {
	v, ok := l[name].(float64)
	return v, ok
}

// wrong is what Verify found.
func (l line) wrong() float64 {
	v, ok := l["verify"].(map[string]any)
	if !ok {
		if _, asked := l["verify"]; asked {
			return 1 // Verify itself failed
		}
		return 0
	}
	mismatches, _ := line(v).number("mismatches")
	regressions, _ := line(v).number("regressions")
	return mismatches + regressions
}

func (l line) noisy() bool {
	for _, name := range []string{"seconds", "measured_s", "caught_up_s"} {
		if s, ok := l.number(name); ok {
			other, ok := l.number("other_cpu_s")
			return ok && other > 0.3*s
		}
	}
	return false
}

// group is the repetitions of one thing.
type group struct {
	key   string
	all   []line
	used  []line
	noisy int
}

// column is a figure and how it is got from a line.
type column struct {
	title  string
	value  func(l line) (float64, bool)
	format string
}

func field(name string) func(line) (float64, bool) {
	return func(l line) (float64, bool) { return l.number(name) }
}

// perRecord is a figure of seconds as microseconds a record.
func perRecord(name string) func(line) (float64, bool) {
	return func(l line) (float64, bool) {
		s, ok := l.number(name)
		n, okRecords := l.number("records")
		return s * 1e6 / n, ok && okRecords && n > 0
	}
}

// table is one kind of lines.
type table struct {
	title   string
	takes   func(l line) bool
	by      []string
	columns []column
}

func tables() []table {
	is := func(workloads ...string) func(line) bool {
		return func(l line) bool { return slices.Contains(workloads, l.text("workload")) && l.text("scenario") == "" }
	}
	return []table{
		{
			title: "Throughput", takes: is("count", "repartition", "restore", "windowed", "join"),
			by: []string{"workload", "dist", "peer", "mode", "commit_ms", "threads", "cache"},
			columns: []column{
				{"records/s", field("records_per_s"), "%.0f"},
				{"CPU µs/record", perRecord("cpu_s"), "%.2f"},
				{"broker CPU µs/record", perRecord("broker_cpu_s"), "%.2f"},
				{"peak MB", field("rss_mb"), "%.0f"},
				{"disk MB", field("disk_mb"), "%.0f"},
			},
		},
		{
			title: "End-to-end latency", takes: is("latency"),
			by: []string{"peer", "mode", "commit_ms", "threads", "cache", "rate"},
			columns: []column{
				{"p50 ms", field("p50_ms"), "%.1f"},
				{"p99 ms", field("p99_ms"), "%.1f"},
				{"max ms", field("max_ms"), "%.1f"},
				{"CPU s", field("cpu_s"), "%.2f"},
				{"peak MB", field("rss_mb"), "%.0f"},
			},
		},
		{
			title: "Restart", takes: func(l line) bool { return l.text("scenario") != "" },
			by: []string{"keys", "peer", "variant", "scenario"},
			columns: []column{
				{"running s", field("running_s"), "%.2f"},
				{"first output s", field("first_output_s"), "%.2f"},
				{"caught up s", field("caught_up_s"), "%.2f"},
				{"restored records", field("restored_records"), "%.0f"},
				{"CPU s", field("cpu_s"), "%.2f"},
				{"peak MB", field("rss_mb"), "%.0f"},
			},
		},
	}
}

func main() {
	var lines []line
	for _, name := range os.Args[1:] {
		ls, err := read(name)
		if err != nil {
			fmt.Fprintln(os.Stderr, "summary:", err)
			os.Exit(1)
		}
		lines = append(lines, ls...)
	}
	report(os.Stdout, lines)
}

func report(w io.Writer, lines []line) {
	for _, t := range tables() {
		write(w, t, lines)
	}
	ratios(w, lines)
}

func read(name string) (lines []line, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	for n := 1; s.Scan(); n++ {
		l := line{}
		if err := json.Unmarshal(s.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", name, n, err)
		}
		lines = append(lines, l)
	}
	return lines, s.Err()
}

// groups puts repetitions together, in the order of their keys.
func groups(t table, lines []line) []*group {
	byKey := map[string]*group{}
	var all []*group
	for _, l := range lines {
		if !t.takes(l) {
			continue
		}
		var parts []string
		for _, name := range t.by {
			parts = append(parts, l.text(name))
		}
		key := strings.Join(parts, " | ")
		g := byKey[key]
		if g == nil {
			g = &group{key: key}
			byKey[key] = g
			all = append(all, g)
		}
		g.all = append(g.all, l)
	}
	for _, g := range all {
		for _, l := range g.all {
			if l.noisy() {
				g.noisy++
			} else {
				g.used = append(g.used, l)
			}
		}
		if len(g.used) == 0 {
			g.used = g.all
		}
	}
	slices.SortFunc(all, func(a, b *group) int { return strings.Compare(a.key, b.key) })
	return all
}

func write(w io.Writer, t table, lines []line) {
	gs := groups(t, lines)
	if len(gs) == 0 {
		return
	}
	_, _ = fmt.Fprintf(w, "\n### %s\n\n| %s | runs |", t.title, strings.Join(t.by, " | "))
	for _, c := range t.columns {
		_, _ = fmt.Fprintf(w, " %s |", c.title)
	}
	_, _ = fmt.Fprintf(w, " wrong |\n|%s\n", strings.Repeat(" --- |", len(t.by)+len(t.columns)+2))
	for _, g := range gs {
		runs := strconv.Itoa(len(g.used))
		switch {
		case g.noisy == len(g.all):
			runs += ", all noisy"
		case g.noisy > 0:
			runs += fmt.Sprintf(", %d noisy left out", g.noisy)
		}
		_, _ = fmt.Fprintf(w, "| %s | %s |", g.key, runs)
		for _, c := range t.columns {
			_, _ = fmt.Fprintf(w, " %s |", spread(g.used, c))
		}
		wrong := 0.0
		for _, l := range g.all {
			wrong += l.wrong()
		}
		_, _ = fmt.Fprintf(w, " %.0f |\n", wrong)
	}
}

// values returns a column's figures in order.
func values(ls []line, value func(line) (float64, bool)) (vs []float64) {
	for _, l := range ls {
		if v, ok := value(l); ok {
			vs = append(vs, v)
		}
	}
	slices.Sort(vs)
	return vs
}

func spread(ls []line, c column) string {
	vs := values(ls, c.value)
	switch len(vs) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(c.format, vs[0])
	}
	return fmt.Sprintf(c.format+" / **"+c.format+"** / "+c.format, vs[0], vs[len(vs)/2], vs[len(vs)-1])
}

// best is the best median of a program over its settings.
func best(lines []line, peer string, value func(line) (float64, bool), better func(a, b float64) bool) (float64, bool) {
	t := tables()[0]
	t.takes = func(l line) bool {
		return l.text("workload") == "count" && l.text("dist") == "uniform" && l.text("mode") == "eos" &&
			l.text("commit_ms") == "100" && l.text("peer") == peer
	}
	found, result := false, 0.0
	for _, g := range groups(t, lines) {
		if vs := values(g.used, value); len(vs) > 0 {
			if v := vs[len(vs)/2]; !found || better(v, result) {
				found, result = true, v
			}
		}
	}
	return result, found
}

// ratios compares the programs at their best setting: count, exactly once, 100 ms, uniform keys.
func ratios(w io.Writer, lines []line) {
	figures := []struct {
		title  string
		value  func(line) (float64, bool)
		better func(a, b float64) bool
	}{
		{"records/s", field("records_per_s"), func(a, b float64) bool { return a > b }},
		{"CPU s", field("cpu_s"), func(a, b float64) bool { return a < b }},
		{"peak MB", field("rss_mb"), func(a, b float64) bool { return a < b }},
	}
	for _, other := range []string{"kafka-streams", "floor"} {
		for _, f := range figures {
			ours, okOurs := best(lines, "tidemark", f.value, f.better)
			theirs, okTheirs := best(lines, other, f.value, f.better)
			if okOurs && okTheirs && theirs != 0 {
				_, _ = fmt.Fprintf(w, "\ncount, %s: tidemark is at %.2f of %s (%.2f to %.2f, each at its best setting)\n",
					f.title, ours/theirs, other, ours, theirs)
			}
		}
	}
}
