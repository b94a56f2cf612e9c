# Carillon. `make` alone prints what there is to make.

# The version is what git calls the commit; a tree without git is "dev".
VERSION ?= $(or $(shell git describe --tags --always --dirty 2>/dev/null),dev)
# -buildvcs=false: the version is stamped here, and go build need not understand the tree's git (a work tree of
# another user, a shallow clone).
GOBUILD = CGO_ENABLED=0 go build -buildvcs=false -trimpath -ldflags '-s -w -X main.version=$(VERSION)'

# How long each fuzz target runs in `make test`; `make fuzz FUZZTIME=10m` searches longer.
FUZZTIME ?= 3s

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help build run check test bench deps clean format vet lint tidy unit race fuzz

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

build: ## bin/carillon, one static binary
	$(GOBUILD) -o bin/carillon ./cmd/carillon

run: build ## build and start a node with a demo app; needs no other service
	bin/carillon serve --demo --data ./carillon-data

check: format vet lint unit ## format, vet, lint, rules and short tests, in under a minute: before every commit

test: deps format vet lint tidy build fuzz race ## everything CI runs

bench: build ## the benchmarks of bench/, as text and JSON in bench/out
	@mkdir -p bench/out
	./bench/run.sh

deps: ## install what the tests need: PostgreSQL, mosquitto-clients, a C compiler
	@./build/deps.sh

clean: ## remove what was built and measured (not ./carillon-data)
	rm -rf bin bench/out

# The parts of check and test.

format: ## the files that gofumpt would change (there must be none); to change them: go tool gofumpt -w .
	@files=$$(go tool gofumpt -l .) && { [ -z "$$files" ] || { echo "not formatted:"; echo "$$files"; exit 1; }; }

vet: ## go vet
	go vet ./...

lint: ## staticcheck
	go tool staticcheck ./...

tidy: ## whether go.mod and go.sum are what the imports need
	go mod tidy -diff

unit: ## short tests, without the race detector
	go test -short -vet=off ./...

race: ## all tests, with the race detector (conformance and the rules are tests too)
	CGO_ENABLED=1 go test -race -vet=off -timeout 15m ./...

fuzz: ## every fuzz target for FUZZTIME (3s)
	@./build/fuzz.sh $(FUZZTIME)
