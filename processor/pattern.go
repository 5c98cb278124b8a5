package processor

import (
	"fmt"
	"regexp"
	"slices"
)

// CompilePattern compiles the regular expression of a source, so that it matches whole names of topics.
func CompilePattern(pattern string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(pattern); err != nil { // else a parenthesis too many could close ours
		return nil, fmt.Errorf("processor: the pattern of a source: %w", err)
	}
	return regexp.MustCompile(`\A(?:` + pattern + `)\z`), nil
}

// PatternError says that a topic cannot be read by pattern. Somebody has to change the topology, or delete the topic.
type PatternError struct {
	Topic string
	// Patterns are those that match it, with the places of their sources.
	Patterns []string
	// Problem says what is wrong, and what to do.
	Problem string
}

// Error implements error.
func (e *PatternError) Error() string {
	return fmt.Sprintf("processor: topic %q matches the pattern of %q: %s", e.Topic, e.Patterns, e.Problem)
}

// HasPatterns reports whether a source reads topics by a regular expression.
func (p *Plan) HasPatterns() bool {
	return slices.ContainsFunc(p.Subtopologies, func(s *Subtopology) bool { return len(s.Patterns()) > 0 })
}

// Patterns are the regular expressions by which the sources of the sub-topology read topics.
func (s *Subtopology) Patterns() (patterns []string) {
	for _, n := range s.Nodes {
		if n.Pattern != "" {
			patterns = append(patterns, n.Pattern)
		}
	}
	return patterns
}

// Matched are the topics that the sources with a pattern read, in the order of their names: none as long as the plan is
// not resolved.
func (p *Plan) Matched() (topics []string) {
	for _, sub := range p.Subtopologies {
		for _, n := range sub.Nodes {
			if n.Pattern != "" {
				topics = append(topics, n.Topics...)
			}
		}
	}
	slices.Sort(topics)
	return topics
}

// Resolve returns the plan for a cluster that has these topics: a copy in which the sources with a pattern read those
// whose whole names match, in the order of their names, and none if none does. The plan may have been resolved before.
// What is internal to the application must not be among the topics. The fingerprint stays the same. Without patterns it
// is the plan itself.
//
// A topic that two sources would read is an error, as in Kafka Streams: a [PatternError].
func (p *Plan) Resolve(topics []string) (*Plan, error) {
	if !p.HasPatterns() {
		return p, nil
	}
	r := resolver{plan: p, named: make(map[string]string), nodes: make(map[*Node]*Node)}
	r.names()
	if err := r.match(topics); err != nil {
		return nil, err
	}
	out := *p
	out.Nodes, out.Subtopologies = r.replaced(p.Nodes), make([]*Subtopology, len(p.Subtopologies))
	for i, sub := range p.Subtopologies {
		out.Subtopologies[i] = r.subtopology(sub)
	}
	return &out, nil
}

// resolver replaces the sources with a pattern.
type resolver struct {
	plan *Plan
	// named says of each topic that must not be matched what it is.
	named map[string]string
	nodes map[*Node]*Node
}

// names collects the topics that have another reader, or another meaning.
func (r *resolver) names() {
	for _, sub := range r.plan.Subtopologies {
		for _, n := range sub.Nodes {
			for _, topic := range n.Topics {
				if n.Kind == SourceNode && n.Pattern == "" {
					r.named[topic] = fmt.Sprintf("the source %q reads it too (%s)", n.Name, n.Position)
				}
			}
		}
	}
	for _, g := range r.plan.Globals {
		r.named[g.Topic()] = fmt.Sprintf("it fills the global store %q (%s)", g.Store.Name, g.Store.Position)
	}
	for _, t := range r.plan.Repartitions {
		r.named[t.Name] = fmt.Sprintf("an internal topic of the topology has that name (%s)", t.Position)
	}
}

// match makes the sources that read the topics.
func (r *resolver) match(topics []string) error {
	topics = slices.Clone(topics)
	slices.Sort(topics)
	readers := make(map[string]*Node)
	for _, sub := range r.plan.Subtopologies {
		for _, n := range sub.Nodes {
			if n.Pattern == "" {
				continue
			}
			re, err := CompilePattern(n.Pattern)
			if err != nil {
				return err
			}
			source := *n
			source.Topics = nil
			for _, topic := range slices.Compact(topics) {
				if !re.MatchString(topic) {
					continue
				}
				if err := r.conflict(topic, n, readers[topic]); err != nil {
					return err
				}
				readers[topic] = n
				source.Topics = append(source.Topics, topic)
			}
			r.nodes[n] = &source
		}
	}
	return nil
}

// conflict says why a source must not read a topic. other is another one with a pattern that matches it, nil if there
// is none.
func (r *resolver) conflict(topic string, n, other *Node) error {
	e := &PatternError{Topic: topic, Patterns: []string{fmt.Sprintf("%s (%s)", n.Pattern, n.Position)}}
	switch why, named := r.named[topic]; {
	case named:
		e.Problem = why + ": let the pattern leave it out"
	case other != nil:
		e.Patterns = append(e.Patterns, fmt.Sprintf("%s (%s)", other.Pattern, other.Position))
		e.Problem = "a topic is read by one source: change the patterns so that only one matches it"
	default:
		return nil
	}
	return e
}

func (r *resolver) replaced(nodes []*Node) []*Node {
	out := slices.Clone(nodes)
	for i, n := range nodes {
		if source, ok := r.nodes[n]; ok {
			out[i] = source
		}
	}
	return out
}

func (r *resolver) subtopology(sub *Subtopology) *Subtopology {
	out := *sub
	out.Nodes, out.SourceTopics = r.replaced(sub.Nodes), slices.Clone(sub.SourceTopics)
	for i, n := range sub.Nodes {
		if n.Pattern == "" {
			continue
		}
		out.SourceTopics = slices.DeleteFunc(out.SourceTopics, func(topic string) bool {
			return slices.Contains(n.Topics, topic)
		})
		out.SourceTopics = append(out.SourceTopics, out.Nodes[i].Topics...)
	}
	return &out
}
