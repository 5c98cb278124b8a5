package measure

import (
	"fmt"
	"strconv"
	"strings"
)

// Args are options of the form "--name value". Unknown ones are kept: the scripts give all programs the same options.
type Args map[string]string

// ParseArgs reads the command line without the program's name.
func ParseArgs(argv []string) (Args, error) {
	a := Args{}
	for i := 0; i < len(argv); i += 2 {
		name, ok := strings.CutPrefix(argv[i], "--")
		if !ok || i+1 >= len(argv) {
			return nil, fmt.Errorf("expected --name value at: %s", argv[i])
		}
		a[name] = argv[i+1]
	}
	return a, nil
}

// Need returns an option that has no default.
func (a Args) Need(name string) (string, error) {
	if v, ok := a[name]; ok {
		return v, nil
	}
	return "", fmt.Errorf("missing --%s", name)
}

// Get returns an option or its default.
func (a Args) Get(name, otherwise string) string {
	if v, ok := a[name]; ok {
		return v
	}
	return otherwise
}

// Int returns a number or its default; 1_000_000 is allowed.
func (a Args) Int(name string, otherwise int) int {
	v, ok := a[name]
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(strings.ReplaceAll(v, "_", ""))
	if err != nil {
		return otherwise
	}
	return n
}

// Flag returns whether an option is true, on, yes or 1.
func (a Args) Flag(name string, otherwise bool) bool {
	v, ok := a[name]
	if !ok {
		return otherwise
	}
	return v == "true" || v == "on" || v == "yes" || v == "1"
}
