package main

import (
	"strings"
	"unicode"

	"github.com/tidemarkio/tidemark/serde"
	"github.com/tidemarkio/tidemark/topology"
)

// WordCount counts the words of the lines in one topic into another one.
func WordCount(input, output string) *topology.Builder {
	b := topology.NewBuilder()
	lines := topology.Stream(b, input, serde.String, serde.String)
	words := topology.FlatMapValues(lines, splitWords, serde.String)
	counts := topology.Count(
		topology.GroupBy(words, func(_, word string) string { return word }, serde.String, topology.Named("by-word")),
		topology.As("counts"))
	counts.ToStream().To(output)
	return b
}

// splitWords returns the words of a line in lower case.
func splitWords(line string) []string {
	return strings.FieldsFunc(strings.ToLower(line), func(r rune) bool { return !unicode.IsLetter(r) && r != '\'' })
}
