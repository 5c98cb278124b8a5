// Package tidy holds no code, only tests of the house rules that a linter does not know. They read the sources, so they
// need no build and take well under a second:
//
//	law_test.go       which folder may import which (imports fall from the front door to the floor), and the single
//	                  doors to sarama, badger, the embedded broker and test libraries
//	packages_test.go  a doc.go of substance in each package, no mutable package variables
//	examples_test.go  an Example for each operator
//	guide_test.go     the code in docs/guide is code of the module
//	files_test.go     words that must not be committed, the form of CHANGELOG.md and of scripts
//
// A rule that turns out wrong is changed in the table of its test, in the commit that needs the change, with the
// reason.
package tidy
