package topology

import (
	"fmt"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
)

// Mermaid draws a plan as a Mermaid flowchart, for documentation and dashboards: topics are stadiums, stores cylinders,
// systems outside of Kafka parallelograms; each sub-topology is a box, and so is each global store.
func Mermaid(p *processor.Plan) string {
	m := mermaid{ids: make(map[string]string)}
	m.out.WriteString("flowchart TD\n")
	for _, sub := range p.Subtopologies {
		fmt.Fprintf(&m.out, "  subgraph sub%d[\"sub-topology %d\"]\n", sub.ID, sub.ID)
		for _, n := range sub.Nodes {
			fmt.Fprintf(&m.out, "    %s[%s]\n", m.id("n", n.Name), quoted(n.Name))
		}
		for _, s := range sub.Stores {
			fmt.Fprintf(&m.out, "    %s[(%s)]\n", m.id("s", s.Name), quoted(s.Name))
		}
		m.out.WriteString("  end\n")
	}
	for _, g := range p.Globals {
		source, node, st := m.id("n", g.Source.Name), m.id("n", g.Processor.Name), m.id("s", g.Store.Name)
		fmt.Fprintf(&m.out, "  subgraph sub%d[\"sub-topology %d, global\"]\n", g.ID, g.ID)
		fmt.Fprintf(&m.out, "    %s[%s]\n    %s[%s]\n    %s[(%s)]\n  end\n", source, quoted(g.Source.Name),
			node, quoted(g.Processor.Name), st, quoted(g.Store.Name))
		topic := m.topic(g.Topic()) // draws it, once
		fmt.Fprintf(&m.out, "  %s --> %s\n  %s --> %s\n  %s -.- %s\n", topic, source, source, node, node, st)
	}
	for _, n := range p.Nodes {
		node := m.id("n", n.Name)
		for _, t := range topicsOrPattern(n) {
			topic := m.topic(t)
			if n.Kind == processor.SourceNode {
				fmt.Fprintf(&m.out, "  %s --> %s\n", topic, node)
			} else {
				fmt.Fprintf(&m.out, "  %s --> %s\n", node, topic)
			}
		}
		if n.Chooser != "" {
			fmt.Fprintf(&m.out, "  %s --> %s\n", node, m.topic("chosen by "+n.Chooser))
		}
		if n.External != "" {
			external := m.id("x", n.Name)
			fmt.Fprintf(&m.out, "  %s[/%s/]\n  %s --> %s\n", external, quoted(n.External), node, external)
		}
		for _, c := range n.Children {
			fmt.Fprintf(&m.out, "  %s --> %s\n", node, m.id("n", c))
		}
		for _, s := range n.Stores {
			fmt.Fprintf(&m.out, "  %s -.- %s\n", node, m.id("s", s))
		}
	}
	for _, s := range p.Stores {
		if s.SourceTopic != "" {
			fmt.Fprintf(&m.out, "  %s -. restores .-> %s\n", m.topic(s.SourceTopic), m.id("s", s.Name))
		}
	}
	return m.out.String()
}

type mermaid struct {
	out strings.Builder
	ids map[string]string
}

// id returns a short identifier, since names may hold characters that Mermaid gives a meaning.
func (m *mermaid) id(kind, name string) string {
	key := kind + " " + name
	id, ok := m.ids[key]
	if !ok {
		id = fmt.Sprintf("%s%d", kind, len(m.ids))
		m.ids[key] = id
	}
	return id
}

// topic draws a topic where it is first mentioned.
func (m *mermaid) topic(name string) string {
	_, drawn := m.ids["t "+name]
	id := m.id("t", name)
	if !drawn {
		fmt.Fprintf(&m.out, "  %s([%s])\n", id, quoted(name))
	}
	return id
}

func quoted(s string) string { return `"` + strings.ReplaceAll(s, `"`, "#quot;") + `"` }
