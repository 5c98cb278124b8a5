package serde

// Must returns s, and panics on an error. It is for serdes whose constructor can fail, where they are written into a
// topology and a mistake in them is a mistake in the program, as with regexp.MustCompile. S is a serde.
func Must[S any](s S, err error) S {
	if err != nil {
		panic(err)
	}
	return s
}
