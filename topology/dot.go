package topology

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
)

// DOT draws a plan as a graph for Graphviz (dot -Tsvg): each sub-topology is a box, topics are ellipses, those between
// sub-topologies dashed, stores cylinders, systems outside of Kafka parallelograms.
func DOT(p *processor.Plan) string {
	d := dot{plan: p, drawn: make(map[string]bool)}
	d.out.WriteString("digraph topology {\n  node [shape=box, fontname=\"sans-serif\"];\n")
	for _, sub := range p.Subtopologies {
		fmt.Fprintf(&d.out, "  subgraph cluster_%d {\n    label=\"sub-topology %d\";\n", sub.ID, sub.ID)
		for _, n := range sub.Nodes {
			fmt.Fprintf(&d.out, "    %s [label=%s];\n", dotQuoted("node "+n.Name), dotQuoted(n.Name))
		}
		for _, s := range sub.Stores {
			fmt.Fprintf(&d.out, "    %s [label=%s, shape=cylinder];\n", dotQuoted("store "+s.Name), dotQuoted(s.Name))
		}
		d.out.WriteString("  }\n")
	}
	for _, n := range p.Nodes {
		node := dotQuoted("node " + n.Name)
		for _, t := range topicsOrPattern(n) {
			if n.Kind == processor.SourceNode {
				d.edge(d.topic(t), node, "")
			} else {
				d.edge(node, d.topic(t), "")
			}
		}
		if n.Chooser != "" {
			d.edge(node, d.topic("chosen by "+n.Chooser), "")
		}
		if n.External != "" {
			id := dotQuoted("external " + n.Name)
			fmt.Fprintf(&d.out, "  %s [label=%s, shape=parallelogram];\n", id, dotQuoted(n.External))
			d.edge(node, id, "")
		}
		for _, c := range n.Children {
			d.edge(node, dotQuoted("node "+c), "")
		}
		for _, s := range n.Stores {
			d.edge(node, dotQuoted("store "+s), " [dir=none, style=dotted]")
		}
	}
	for _, s := range p.Stores {
		if s.SourceTopic != "" {
			d.edge(d.topic(s.SourceTopic), dotQuoted("store "+s.Name), " [style=dotted, label=restores]")
		}
	}
	d.out.WriteString("}\n")
	return d.out.String()
}

// topicsOrPattern is what a picture shows of the topics of a node: which ones match a pattern is no part of a topology.
func topicsOrPattern(n *processor.Node) []string {
	if n.Pattern != "" {
		return []string{"topics matching " + n.Pattern}
	}
	return n.Topics
}

type dot struct {
	plan  *processor.Plan
	out   strings.Builder
	drawn map[string]bool
}

func (d *dot) edge(from, to, attributes string) {
	fmt.Fprintf(&d.out, "  %s -> %s%s;\n", from, to, attributes)
}

// topic draws a topic where it is first mentioned, and returns its identifier.
func (d *dot) topic(name string) string {
	id := dotQuoted("topic " + name)
	if !d.drawn[name] {
		d.drawn[name] = true
		style := ""
		for _, r := range d.plan.Repartitions {
			if r.Name == name {
				style = ", style=dashed"
			}
		}
		fmt.Fprintf(&d.out, "  %s [label=%s, shape=ellipse%s];\n", id, dotQuoted(name), style)
	}
	return id
}

// dotQuoted quotes a string for DOT, where only quotes and backslashes mean something.
func dotQuoted(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", " ").Replace(s) + `"`
}
