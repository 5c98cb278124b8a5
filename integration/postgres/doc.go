// Package postgres gives tests a PostgreSQL server on 127.0.0.1.
//
//	test ──► Start ──► postgres.sh start ──► initdb, postgres with prepared transactions
//	                        │                  as another user where this one is root, who may not run it
//	                        └── programs of the machine, else those of a Maven artifact
//
// One server serves all tests of the binary, each with a database of its own; it ends with the binary, however that
// ends. Tests may cut connections through a [Door]. Where no server can be had the test is skipped, loudly; with
// TIDEMARK_REQUIRE_POSTGRES=1, as in CI, it fails. Nothing is downloaded unless TIDEMARK_INTEGRATION=real.
package postgres
