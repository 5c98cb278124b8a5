package topology

import (
	"slices"

	"github.com/tidemarkio/tidemark/processor"
)

// Which part of a key with a window chose the partition? An aggregation with windows leaves its results in the task of
// the key; a repartition topic places them anew, by key and window. So it is as many windows from the outside as there
// are aggregations with windows on the way from the source. To places records by the key in the outermost window, as
// Kafka Streams does, so a source of the user's counts as one.

// keyWindows returns the windows of keys that reach n that did not choose the partition; all are those that the keys
// have, as serde.WindowBytes returns them.
func (b *Builder) keyWindows(n *graphNode, all []int) []int {
	if len(all) == 0 {
		return nil
	}
	return all[:min(b.windowsAbove(n, make(map[*graphNode]int)), len(all))]
}

// windowsAbove counts the aggregations with windows between n and what it reads from topics; the least of several ways.
// known are the counts of nodes that several ways lead to.
func (b *Builder) windowsAbove(n *graphNode, known map[*graphNode]int) int {
	if count, ok := known[n]; ok {
		return count
	}
	above := n.parents
	if n.answersTo != nil {
		above = []*graphNode{n.answersTo} // these records are sent to where the rows of that node are
	}
	least := 0
	if n.kind == processor.SourceNode && n.answersTo == nil && len(b.repartitioning(n)) == 0 {
		least = 1
	}
	for i, p := range above {
		count := b.windowsAbove(p, known)
		if p.closes != nil {
			count++
		}
		if i == 0 || count < least {
			least = count
		}
	}
	known[n] = least
	return least
}

// storeWindows is keyWindows for a store: for the first node that uses it, whose input chose the partition of its rows.
func (b *Builder) storeWindows(name string, all []int) []int {
	if len(all) == 0 {
		return nil
	}
	for _, n := range b.nodes {
		if slices.Contains(n.stores, name) {
			return b.keyWindows(n, all)
		}
	}
	return all
}

// foreignKeyDef is what a plan tells of a foreign-key join, while it is declared.
type foreignKeyDef struct {
	subscribers, requests, answers string
	left                           *graphNode
	leftWindows                    []int // of left's keys
	custom                         bool
}

func (d *foreignKeyDef) lower(b *Builder) processor.ForeignKeyJoin {
	j := processor.ForeignKeyJoin{
		Subscribers: d.subscribers, Requests: d.requests, Answers: d.answers, CustomPartitioner: d.custom,
	}
	for _, n := range b.keyWindows(&graphNode{parents: []*graphNode{d.left}}, d.leftWindows) {
		j.LeftWindowBytes += n
	}
	return j
}
