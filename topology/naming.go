package topology

import (
	"regexp"
	"strings"

	"github.com/tidemarkio/tidemark/processor"
)

// generatedPart finds the generated name that a name is or begins with: a store or an internal topic may have a suffix
// behind it, as in KSTREAM-JOINTHIS-0000000004-store.
var generatedPart = regexp.MustCompile(`^.*?-[0-9]{10}`)

// isGenerated reports whether a name comes from this builder and not from the user. A user's name that only looks like
// a generated one is the user's.
func (b *Builder) isGenerated(name string) bool { return b.generated[generatedPart.FindString(name)] }

// unnamed lists the stores and repartition topics of a plan that have generated names, in the order of the plan
// (KIP-1111). Names of nodes do not count: nothing is kept under them.
func (b *Builder) unnamed(p *processor.Plan) []processor.Unnamed {
	var all []processor.Unnamed
	for _, s := range p.Stores {
		if b.isGenerated(s.Name) {
			operator := b.storeByName[s.Name].operator
			all = append(all, processor.Unnamed{
				Resource: processor.StoreResource, Name: s.Name, Operator: operator, Position: s.Position,
				Hint: storeHint(operator),
			})
		}
	}
	for _, r := range p.Repartitions {
		if b.isGenerated(r.Name) {
			operator := b.writerOf(r.Name)
			all = append(all, processor.Unnamed{
				Resource: processor.RepartitionResource, Name: r.Name, Operator: operator, Position: r.Position,
				Hint: repartitionHint(operator),
			})
		}
	}
	return all
}

// writerOf returns the operator that declared the sink of an internal topic.
func (b *Builder) writerOf(topic string) string {
	for _, n := range b.nodes {
		if n.kind == processor.SinkNode && len(n.topics) == 1 && n.topics[0] == topic {
			return n.operator
		}
	}
	return "?"
}

// namedByNode reports whether an operator names its stores and topics after its node.
func namedByNode(operator string) bool {
	return strings.Contains(operator, "Join") || strings.Contains(operator, "Suppress")
}

func storeHint(operator string) string {
	if namedByNode(operator) {
		return `topology.Named("...")`
	}
	return `topology.As("...")`
}

func repartitionHint(operator string) string {
	switch {
	case operator == "Repartition", operator == "ToTable", namedByNode(operator):
		return `topology.Named("...")`
	default:
		return `topology.As("...") for it and its store, or topology.Named("...") at the group`
	}
}
