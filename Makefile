# Every target works on a machine that has only Go (1.26 or later) and git.

STATICCHECK = go run honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOFUMPT     = go run mvdan.cc/gofumpt@v0.12.0
export CGO_ENABLED = 0

.PHONY: help build check test lint generate verify demo e2e fault fault-quick fault-long bench race fuzz

help: ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /	/' | expand -t 12

build: ## Build bin/funnel
	go build -o bin/funnel ./cmd/funnel

check: lint verify build fault-quick ## What CI checks beside the tests, and needs only Go

test: ## Run the tests
	go test ./...

lint: ## Check format, vet and staticcheck
	@unformatted=$$($(GOFUMPT) -l .); test -z "$$unformatted" || { echo "run 'make generate' to format:"; echo "$$unformatted"; exit 1; }
	go vet ./...
	go vet -tags faultpoint ./...
	$(STATICCHECK) ./...
	go mod verify

generate: ## Write what is generated: format, doc comments for the API, reference
	$(GOFUMPT) -w .
	go generate ./internal/docgen

verify: ## Fail if what is generated is stale
	go test -count=1 ./internal/docgen
	go mod tidy -diff

demo: ## Watch alerts become tickets
	go run ./cmd/funnel demo

e2e: ## Run the program from the outside with real parts, which it installs (Debian, as root)
	FUNNEL_E2E_REAL=1 go test -count=1 -timeout 20m -v ./test/e2e

FAULT = go test -count=1 -tags faultpoint -v -parallel 3 ./test/fault -fault -results $(CURDIR)/bin/fault-results.txt

fault: ## Torment the server: kills, drains, reloads, storms, several nodes; a line for each run
	bash test/fault/parts.sh
	@mkdir -p bin
	go test -count=1 -tags faultpoint ./internal/faultpoint
	$(FAULT) -timeout 60m
	@cat bin/fault-results.txt

fault-quick: ## The part of make fault that CI runs: kill -9 at random and at every fault point
	@mkdir -p bin
	go test -count=1 -tags faultpoint ./internal/faultpoint
	$(FAULT) -timeout 20m -run 'F01Kill$$'

fault-long: ## The same in the scheduled size, for some hours
	bash test/fault/parts.sh
	@mkdir -p bin
	$(FAULT) -long -timeout 12h

bench: ## Print the ratios against bare ceilings
	go test -count=1 -timeout 20m -v ./test/bench -full

race: ## Run the tests with the race detector (needs a C compiler)
	CGO_ENABLED=1 go test -race ./...

fuzz: ## Fuzz each target for 20 seconds, two at a time
	@grep -roE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sed -E 's|/[^/]+:func | |' | sort | xargs -P 2 -L 1 bash test/fuzz.sh
