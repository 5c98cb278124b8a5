package topology

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
)

// Describe prints a plan as Kafka Streams' TopologyDescription does, so that tools which read those can read ours.
// Nodes stand in order of declaration.
func Describe(p *processor.Plan) string {
	var out strings.Builder
	out.WriteString("Topologies:\n ")
	parents := parentsOf(p)
	for _, sub := range p.Subtopologies {
		fmt.Fprintf(&out, "  Sub-topology: %d\n", sub.ID)
		for _, n := range sub.Nodes {
			topics := strings.Join(n.Topics, ", ")
			switch n.Kind {
			case processor.SourceNode:
				fmt.Fprintf(&out, "    Source: %s (topics: [%s])\n", n.Name, topics)
			case processor.SinkNode:
				where := "topic: " + topics
				if n.Chooser != "" {
					where = "extractor class: " + n.Chooser
				}
				fmt.Fprintf(&out, "    Sink: %s (%s)\n", n.Name, where)
			case processor.ProcessorNode:
				fmt.Fprintf(&out, "    Processor: %s (stores: [%s])\n", n.Name, strings.Join(n.Stores, ", "))
			}
			if n.Kind != processor.SinkNode {
				fmt.Fprintf(&out, "      --> %s\n", namesOrNone(n.Children))
			}
			if n.Kind != processor.SourceNode {
				fmt.Fprintf(&out, "      <-- %s\n", namesOrNone(parents[n.Name]))
			}
		}
		out.WriteString("\n")
	}
	return out.String()
}

func parentsOf(p *processor.Plan) map[string][]string {
	parents := make(map[string][]string)
	for _, n := range p.Nodes {
		for _, c := range n.Children {
			parents[c] = append(parents[c], n.Name)
		}
	}
	return parents
}

func namesOrNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
