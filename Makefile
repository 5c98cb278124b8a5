# `make` without a target lists the targets.
SHELL := bash
.DEFAULT_GOAL := help
GOLANGCI_LINT := go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOFUMPT := go run mvdan.cc/gofumpt@v0.12.0

.PHONY: help
help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: test
test: ## all tests, on the embedded broker
	go test ./...

.PHONY: race
race: ## all tests under the race detector
	go test -race ./...

.PHONY: integration
integration: ## the integration suite on a real Kafka (needs java and mvn)
	TIDEMARK_INTEGRATION=real TIDEMARK_REQUIRE_KAFKA=1 go test -count=1 -v -p 1 ./integration/... ./internal/kafka

.PHONY: lint
lint: ## vet, format check and linters
	go vet ./...
	@test -z "$$($(GOFUMPT) -l .)" || { $(GOFUMPT) -d .; exit 1; }
	$(GOLANGCI_LINT) run

.PHONY: format
format: ## formats the sources and orders their imports
	$(GOLANGCI_LINT) fmt

.PHONY: bench
bench: ## the comparison with Kafka Streams and the floor (needs java and mvn, a quiet machine, an hour)
	bench/run.sh

.PHONY: crash
crash: ## kill -9, stop and broker kills under load on a real Kafka (needs java and mvn, ten minutes)
	bench/crash.sh kill
	bench/crash.sh stop
	bench/crash.sh broker

.PHONY: query
query: ## queries through restarts, kills and zombies on a real Kafka (needs java and mvn, six minutes)
	bench/query.sh restart
	bench/query.sh kill
	bench/query.sh stop

.PHONY: soak
soak: ## twenty minutes of load; checks disk, memory and goroutines (needs java and mvn)
	bench/soak.sh

.PHONY: ci
ci: ## what CI runs
	.ci/run
