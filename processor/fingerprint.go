package processor

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
)

// Fingerprint is a stable hash of the plan's structure: sub-topologies, nodes and their order, topics, stores. Two
// plans with the same fingerprint can read each other's state and internal topics. Functions, types and the places of
// declaration do not count, nor does which topics match the pattern of a source.
func (p *Plan) Fingerprint() string {
	f := fingerprint{sha256.New()}
	f.add("tidemark-plan", "1") // the version of what follows
	for _, sub := range p.Subtopologies {
		f.add("subtopology", strconv.Itoa(int(sub.ID)))
		for _, n := range sub.Nodes {
			f.add("node", strconv.Itoa(int(n.Kind)), n.Name)
			if n.Pattern != "" { // which topics match is a matter of the cluster
				f.add("pattern", n.Pattern)
			} else {
				f.add("topics", n.Topics...)
			}
			f.add("stores", n.Stores...)
			f.add("children", n.Children...)
		}
		for _, s := range sub.Stores {
			f.add("store", s.Name, strconv.FormatBool(s.LoggingDisabled), s.SourceTopic)
		}
	}
	for _, r := range p.Repartitions {
		f.add("repartition", r.Name, strconv.Itoa(int(r.Partitions)))
	}
	for _, g := range p.Globals {
		f.add("global", g.Store.Name, g.Source.Name, g.Topic(), g.Processor.Name)
	}
	return hex.EncodeToString(f.h.Sum(nil))
}

type fingerprint struct{ h hash.Hash }

// add writes a counted list of counted strings: no two lists have the same bytes.
func (f fingerprint) add(kind string, values ...string) {
	f.string(kind)
	f.string(strconv.Itoa(len(values)))
	for _, v := range values {
		f.string(v)
	}
}

func (f fingerprint) string(s string) {
	f.h.Write(strconv.AppendInt(nil, int64(len(s)), 10))
	f.h.Write([]byte{':'})
	f.h.Write([]byte(s))
}
