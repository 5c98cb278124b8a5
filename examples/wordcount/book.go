package main

import (
	_ "embed"
	"strings"
)

// book is Isaac Newton's Opticks, fourth edition of 1730, in the public domain.
//
//go:embed opticks.txt
var book string

// bookLines returns the lines that have words, and how often each word occurs in all of them.
func bookLines() (lines []string, expected map[string]int64) {
	expected = make(map[string]int64)
	for line := range strings.Lines(book) {
		words := splitWords(line)
		if len(words) == 0 {
			continue
		}
		lines = append(lines, strings.TrimSpace(line))
		for _, w := range words {
			expected[w]++
		}
	}
	return lines, expected
}
