package topology

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
)

// Effect is what a change of a topology means for what an application has.
type Effect string

// Effects, the gravest first.
const (
	// Loses: state or records that are there would not be used any more.
	Loses Effect = "loses"
	// Alters: it goes on under other conditions; read the text.
	Alters Effect = "alters"
	// Moves: it is kept and is restored once, because its tasks have other ids.
	Moves Effect = "moves"
	// Drops: it is gone, and nothing with it that could not be made again.
	Drops Effect = "drops"
	// Adds: it is new and begins empty.
	Adds Effect = "adds"
	// Keeps: it goes on.
	Keeps Effect = "keeps"
)

// PlanChange is one difference of two topologies, or one thing that stays.
type PlanChange struct {
	Effect Effect `json:"effect"`
	// Subject is "store", "repartition topic", "input topic", "input pattern", "output topic" or "sub-topology".
	Subject string `json:"subject"`
	Name    string `json:"name"`
	// Text says what it means.
	Text string `json:"text"`
}

// String is one line.
func (c PlanChange) String() string {
	return fmt.Sprintf("%-6s %s %s: %s", c.Effect, c.Subject, c.Name, c.Text)
}

// PlanChanges is what a deployment would do, the gravest first.
type PlanChanges []PlanChange

// String is a line for each change.
func (c PlanChanges) String() string {
	var out strings.Builder
	for _, change := range c {
		out.WriteString(change.String())
		out.WriteByte('\n')
	}
	return out.String()
}

// With returns the changes that have one of these effects.
func (c PlanChanges) With(effects ...Effect) PlanChanges {
	var out PlanChanges
	for _, change := range c {
		if slices.Contains(effects, change.Effect) {
			out = append(out, change)
		}
	}
	return out
}

// LostStores returns the changes by which the rows of a store would be lost.
func (c PlanChanges) LostStores() PlanChanges {
	var out PlanChanges
	for _, change := range c.With(Loses) {
		if change.Subject == subjectStore {
			out = append(out, change)
		}
	}
	return out
}

const (
	subjectStore       = "store"
	subjectRepartition = "repartition topic"
	subjectInput       = "input topic"
	subjectPattern     = "input pattern"
	subjectOutput      = "output topic"
	subjectSub         = "sub-topology"
)

// Diff compares the topology that an application runs with one that is to be deployed under the same application id,
// and says what is kept, what is new, and what would be lost. Things are the same if their names are.
func Diff(before, after *Description) PlanChanges {
	d := &differ{before: before, after: after}
	d.stores()
	d.topics()
	d.patterns()
	d.subtopologies()
	order := []Effect{Loses, Alters, Moves, Drops, Adds, Keeps}
	slices.SortStableFunc(d.changes, func(a, b PlanChange) int {
		return cmp.Compare(slices.Index(order, a.Effect), slices.Index(order, b.Effect))
	})
	return d.changes
}

type differ struct {
	before, after *Description
	changes       PlanChanges
}

func (d *differ) add(effect Effect, subject, name, format string, args ...any) {
	d.changes = append(d.changes, PlanChange{effect, subject, name, fmt.Sprintf(format, args...)})
}

func (d *Description) store(name string) *StoreDescription {
	for i := range d.Stores {
		if d.Stores[i].Name == name {
			return &d.Stores[i]
		}
	}
	return nil
}

func (d *Description) topic(name string) TopicDescription {
	for _, t := range d.Topics {
		if t.Name == name {
			return t
		}
	}
	return TopicDescription{}
}

func (d *differ) stores() {
	for i := range d.before.Stores {
		old := &d.before.Stores[i]
		if now := d.after.store(old.Name); now != nil {
			d.keptStore(old, now)
		} else {
			d.removedStore(old)
		}
	}
	for i := range d.after.Stores {
		if now := &d.after.Stores[i]; d.before.store(now.Name) == nil {
			d.add(Adds, subjectStore, now.Name, "it begins empty, and fills with the records that come from now on")
		}
	}
}

func (d *differ) removedStore(old *StoreDescription) {
	switch {
	case old.SourceTopic != "":
		d.add(Drops, subjectStore, old.Name, "its rows are in the topic %s", old.SourceTopic)
	case !old.Logging:
		d.add(Drops, subjectStore, old.Name, "its rows are only in local state, which is deleted")
	default:
		hint := ""
		for i := range d.after.Stores {
			now := &d.after.Stores[i]
			if d.before.store(now.Name) == nil && now.Type == old.Type && now.KeySerde == old.KeySerde &&
				now.ValueSerde == old.ValueSerde {
				hint = fmt.Sprintf("; if %s is the same store, keep the name %s", now.Name, old.Name)
				break
			}
		}
		d.add(Loses, subjectStore, old.Name,
			"nothing uses it any more%s (the rows stay in the topic %s, without what comes from now on)", hint, old.Changelog)
	}
}

func (d *differ) keptStore(old, now *StoreDescription) {
	switch {
	case old.Type != now.Type && old.Type != "" && now.Type != "":
		d.add(Loses, subjectStore, now.Name, "it was a %s store and is a %s store, which cannot read its rows: give it "+
			"another name, or reset the application", old.Type, now.Type)
	case old.Logging && !now.Logging:
		d.add(Alters, subjectStore, now.Name, "it has no changelog any more: its rows are only on the machines "+
			"that have them")
	case !old.Logging && now.Logging && now.SourceTopic == "":
		d.add(Alters, subjectStore, now.Name, "its changelog begins empty: rows of before are only on the machines that "+
			"have them")
	case old.SourceTopic != "" && now.SourceTopic == "" && now.Logging:
		d.add(Loses, subjectStore, now.Name, "its changelog begins empty: its rows are in the topic %s, which is not read "+
			"again: keep topology.ReuseSourceTopics, or reset the application", old.SourceTopic)
	case old.KeySerde != now.KeySerde:
		d.add(Alters, subjectStore, now.Name, "its keys were written by %s, and are looked up by %s: they must be the same "+
			"bytes", old.KeySerde, now.KeySerde)
	case old.ValueSerde != now.ValueSerde:
		d.add(Alters, subjectStore, now.Name, "its rows were written by %s, and are read by %s, which must understand them",
			old.ValueSerde, now.ValueSerde)
	case old.SourceTopic != now.SourceTopic:
		d.add(Moves, subjectStore, now.Name, "it is restored from the topic %s", now.SourceTopic)
	case old.Subtopology != now.Subtopology:
		if !now.Logging {
			d.add(Loses, subjectStore, now.Name, "its tasks were %d_n and are %d_n, and it has no changelog to move by",
				old.Subtopology, now.Subtopology)
			return
		}
		d.add(Moves, subjectStore, now.Name, "its tasks were %d_n and are %d_n: it is restored from its changelog",
			old.Subtopology, now.Subtopology)
	default:
		d.add(Keeps, subjectStore, now.Name, "it goes on with its rows")
	}
}

func (d *differ) topics() {
	for _, old := range d.before.Topics {
		now := d.after.topic(old.Name)
		switch {
		case old.Repartition && !now.Repartition:
			d.add(Loses, subjectRepartition, old.Name, "records that are in it and not processed yet are not read any more: "+
				"let the application finish them first (stop its input), or keep the name")
		case old.Partitions != now.Partitions && old.Partitions != 0 && now.Partitions != 0 && d.after.feedsStores(old.Name):
			d.add(Alters, d.subjectOf(now), old.Name, "it had %d partitions and has %d: tasks are made anew, and the keys of "+
				"stores fall into other partitions", old.Partitions, now.Partitions)
		case old.Repartition:
			d.add(Keeps, subjectRepartition, old.Name, "records that are in it are processed")
		case old.Read && !now.Read && d.after.matches(old.Name) != "":
			d.add(Keeps, subjectInput, old.Name, "it goes on at the group's position: the pattern %s matches it",
				d.after.matches(old.Name))
		case old.Read && !now.Read:
			d.add(Drops, subjectInput, old.Name, "it is not read any more; the group's position in it stays until it expires")
		case old.Read:
			d.add(Keeps, subjectInput, old.Name, "it goes on at the group's position")
		}
		if old.Written && !old.Repartition && !now.Written {
			d.add(Drops, subjectOutput, old.Name, "it is not written any more")
		}
	}
	for _, now := range d.after.Topics {
		old := d.before.topic(now.Name)
		switch {
		case now.Repartition && !old.Repartition:
			d.add(Adds, subjectRepartition, now.Name, "it is created, empty")
		case !now.Repartition && now.Read && !old.Read && d.before.matches(now.Name) != "":
			d.add(Keeps, subjectInput, now.Name, "it goes on at the group's position: it was read by the pattern %s",
				d.before.matches(now.Name))
		case !now.Repartition && now.Read && !old.Read:
			d.add(Adds, subjectInput, now.Name, "it is read from the group's position, if it has one there, else as the offset "+
				"reset says")
		}
		if now.Written && !now.Repartition && !old.Written {
			d.add(Adds, subjectOutput, now.Name, "it must exist")
		}
	}
}

// patterns compares the regular expressions by which topics are read.
func (d *differ) patterns() {
	before, after := d.before.patterns(), d.after.patterns()
	for _, old := range before {
		if slices.Contains(after, old) {
			d.add(Keeps, subjectPattern, old, "its topics go on at the group's positions")
		} else {
			d.add(Drops, subjectPattern, old, "topics that match it are not read any more, unless something else reads them; "+
				"the group's positions in them stay until they expire")
		}
	}
	for _, now := range after {
		if !slices.Contains(before, now) {
			d.add(Adds, subjectPattern, now, "topics that match it are read from the group's positions, if it has some there, "+
				"else as the offset reset says")
		}
	}
}

func (d *differ) subjectOf(t TopicDescription) string {
	switch {
	case t.Repartition:
		return subjectRepartition
	case t.Read:
		return subjectInput
	default:
		return subjectOutput
	}
}

// subtopologies finds those that have another number: a task's local state lies in a directory of its number.
func (d *differ) subtopologies() {
	for i := range d.before.Subtopologies {
		old := &d.before.Subtopologies[i]
		reads := old.reads()
		for j := range d.after.Subtopologies {
			now := &d.after.Subtopologies[j]
			if old.ID != now.ID && slices.ContainsFunc(now.reads(), func(t string) bool { return slices.Contains(reads, t) }) {
				d.add(Moves, subjectSub, strconv.Itoa(int(old.ID)),
					"its tasks %d_n become %d_n; their positions are kept", old.ID, now.ID)
				break
			}
		}
	}
}

// feedsStores reports whether the tasks that read a topic have stores, of which each belongs to a partition.
func (d *Description) feedsStores(topic string) bool {
	for i := range d.Subtopologies {
		sub := &d.Subtopologies[i]
		if slices.Contains(sub.reads(), topic) &&
			slices.ContainsFunc(d.Stores, func(s StoreDescription) bool { return s.Subtopology == sub.ID }) {
			return true
		}
	}
	return false
}

// reads lists the topics and patterns of a sub-topology's sources.
func (s *SubtopologyDescription) reads() []string {
	var topics []string
	for _, n := range s.Nodes {
		if n.Kind != "source" {
			continue
		}
		topics = append(topics, n.Topics...)
		if n.Pattern != "" {
			topics = append(topics, "~"+n.Pattern) // which is no name of a topic
		}
	}
	return topics
}

// patterns lists the patterns of all sources.
func (d *Description) patterns() (patterns []string) {
	for i := range d.Subtopologies {
		for _, n := range d.Subtopologies[i].Nodes {
			if n.Pattern != "" && !slices.Contains(patterns, n.Pattern) {
				patterns = append(patterns, n.Pattern)
			}
		}
	}
	return patterns
}

// matches returns the pattern that reads a topic, "" if none does.
func (d *Description) matches(topic string) string {
	for _, pattern := range d.patterns() {
		if re, err := processor.CompilePattern(pattern); err == nil && re.MatchString(topic) {
			return pattern
		}
	}
	return ""
}
