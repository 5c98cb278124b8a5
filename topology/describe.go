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
	globals := p.Globals
	for _, sub := range p.Subtopologies {
		for len(globals) > 0 && globals[0].ID < sub.ID {
			describeGlobal(&out, globals[0])
			globals = globals[1:]
		}
		fmt.Fprintf(&out, "  Sub-topology: %d\n", sub.ID)
		for _, n := range sub.Nodes {
			topics := strings.Join(n.Topics, ", ")
			switch n.Kind {
			case processor.SourceNode:
				where := "[" + topics + "]"
				if n.Pattern != "" {
					where = n.Pattern
				}
				fmt.Fprintf(&out, "    Source: %s (topics: %s)\n", n.Name, where)
			case processor.SinkNode:
				where := "topic: " + topics
				switch {
				case n.Chooser != "":
					where = "extractor class: " + n.Chooser
				case n.External != "":
					where = "external: " + n.External
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
	for _, g := range globals {
		describeGlobal(&out, g)
	}
	return out.String()
}

// describeGlobal prints a global store, which has a number among the sub-topologies and no tasks.
func describeGlobal(out *strings.Builder, g *processor.GlobalStore) {
	fmt.Fprintf(out, "  Sub-topology: %d for global store (will not generate tasks)\n", g.ID)
	fmt.Fprintf(out, "    Source: %s (topics: [%s])\n      --> %s\n", g.Source.Name, g.Topic(), g.Processor.Name)
	fmt.Fprintf(out, "    Processor: %s (stores: [%s])\n      --> none\n      <-- %s\n", g.Processor.Name,
		g.Store.Name, g.Source.Name)
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
