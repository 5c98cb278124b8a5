package topology

import (
	"fmt"
	"maps"
	"regexp"
	"slices"

	"github.com/tidemarkio/tidemark/processor"
	"github.com/tidemarkio/tidemark/serde"
)

// StreamPattern reads all topics whose whole name matches a regular expression as one stream (Kafka Streams'
// StreamsBuilder.stream(Pattern)): "orders-.*" stands for orders-eu, and not for old-orders-eu. Both serdes are needed.
//
// Topics may come and go while the application runs; it looks for them every Config.MetadataMaxAge. Where nothing
// matches, nothing is read, and that is no error. Topics that are internal to Kafka (their names begin with "__") or to
// the application are never read. A topic with another source in the topology must not match, and of two patterns only
// one may: what can be known is a mistake of the declaration, the rest ends Run with a *processor.PatternError.
// Patterns with the same text are the same source: it is decoded once.
//
// A topic that appears is read from its beginning, whatever the offset reset of the source says; where a topic starts
// that is there when the application starts is up to that. In tidemarktest every matching topic can be written to.
func StreamPattern[K, V any](
	b *Builder, pattern *regexp.Regexp, keySerde serde.Serde[K], valueSerde serde.Serde[V], opts ...SourceOption,
) *KStream[K, V] {
	var c sourceConfig
	for _, o := range opts {
		o.applySource(&c)
	}
	node := addPatternSource(b, b.nodeName(c.name, "KSTREAM-SOURCE-"), pattern, keySerde, valueSerde, c)
	return &KStream[K, V]{b: b, node: node, keySerde: keySerde, valueSerde: valueSerde}
}

// addPatternSource adds the source node of a pattern, or returns the one that is there already.
func addPatternSource[K, V any](
	b *Builder, name string, pattern *regexp.Regexp, keySerde serde.Serde[K], valueSerde serde.Serde[V], c sourceConfig,
) *graphNode {
	const operator = "StreamPattern"
	text := ""
	if pattern != nil {
		text = pattern.String()
	}
	if text == "" {
		b.fail(operator, "a pattern is needed: regexp.MustCompile(`orders-.*`), say")
		text = ".*" // so that what follows can be declared
	} else if _, err := processor.CompilePattern(text); err != nil { // of regexp.CompilePOSIX, perhaps
		b.fail(operator, "%v", err)
	}
	needSerdes(b, operator, fmt.Sprintf("reading topics that match %q", text), keySerde, valueSerde)
	types := fmt.Sprintf("%s and %s (serdes %T and %T)", typeName[K](), typeName[V](), keySerde, valueSerde)
	if first, ok := b.patterns[text]; ok {
		switch {
		case first.types != types:
			b.fail(operator, "the pattern %q is already read at %s as %s, here as %s", text, first.node.position, first.types,
				types)
		case first.node.reset != c.reset || first.node.extracts != c.extracts():
			b.fail(operator, "the pattern %q is already read at %s with other options", text, first.node.position)
		}
		return first.node
	}
	node := newSource(b, operator, name, nil, keySerde, valueSerde, c)
	node.pattern = text
	b.addNode(operator, node)
	b.patterns[text] = &sourceDef{node: node, types: types}
	return node
}

// checkPatterns finds topics that have a source, or fill a global store, and match a pattern all the same. Repartition
// topics have other names on the broker.
func (b *Builder) checkPatterns() (errs []error) {
	for _, n := range b.nodes {
		if n.pattern == "" {
			continue
		}
		re, err := processor.CompilePattern(n.pattern)
		if err != nil {
			continue // was told
		}
		for _, topic := range slices.Sorted(maps.Keys(b.sources)) {
			if other := b.sources[topic].node; re.MatchString(topic) && !b.internal(other) {
				errs = append(errs, &BuildError{n.position, "StreamPattern", fmt.Sprintf(
					"the pattern %q matches the topic %q, which is read at %s: a topic has one source", n.pattern, topic,
					other.position)})
			}
		}
	}
	return errs
}
