// Package schemaregistry gives tests a schema registry: one in this process by default, a real Apicurio when
// TIDEMARK_INTEGRATION=real; and a door in front of it that tests may close.
//
//	test ──► Start ──► Door ──► srfake in this process          (default: milliseconds)
//	                       └──► Apicurio, its ccompat interface (TIDEMARK_INTEGRATION=real: needs java, mvn and flock)
//
// One registry serves all tests of the binary: use names of your own for subjects. A real one ends with the test
// binary, however that ends. Where a real one is wanted and cannot start, the test is skipped; with
// TIDEMARK_REQUIRE_KAFKA=1, as in CI, it fails. Apicurio stands for the registries of the field because it is the one
// that Maven alone brings.
package schemaregistry
