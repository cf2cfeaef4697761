# Everything a developer or CI runs. Needs Go; integration tests also use Node with npm, and Java with Maven.

# Pinned; each is built once into .cache/tools, after which no target but vuln needs the network.
# (go run tool@version asks the module proxy every time whether the version was deprecated.)
GOFUMPT     := mvdan.cc/gofumpt@v0.12.0
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOTESTSUM   := gotest.tools/gotestsum@v1.13.0
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0

GO        ?= go
PKGS      ?= ./...
TESTFLAGS ?= -timeout=20m
DEMO_FLAGS ?=
FUZZTIME  ?= 30s
BENCH     ?= .
BATCH     ?= 50000
ROWS      ?= 400000
BENCHFLAGS ?=
BENCH_EVENTS ?= 1000000
BENCH_FLAGS  ?=
ORACLE_CASES ?= 10000

# By Go version, because a linter built with an older Go cannot read newer code.
TOOLS := $(CURDIR)/.cache/tools/$(shell $(GO) env GOVERSION)
tool   = $(TOOLS)/$(notdir $(1))

# The build must never edit go.mod behind the developer's back.
export GOFLAGS := $(strip $(GOFLAGS) -mod=readonly)

# The commit's date, not the clock's: the same commit always gives the same bytes.
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
COMMIT  := $(shell git rev-parse HEAD 2>/dev/null || true)
DATE    := $(shell git log -1 --format=%cI 2>/dev/null || true)
LDFLAGS := -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.date=$(DATE)

# Runs the tests named by its arguments and closes with the counts on a line of their own, also when some failed.
# A package that does not compile counts as failed: it hid its tests.
COUNTS := echo $$((TESTS_TOTAL - TESTS_FAILED - TESTS_SKIPPED)) passed, $$((TESTS_FAILED + TESTS_ERRORS)) failed, $$TESTS_SKIPPED skipped
run-tests = $(call tool,$(GOTESTSUM)) --format pkgname --format-hide-empty-pkg --hide-summary=skipped \
	--post-run-command 'sh -c "$(COUNTS)"' -- $(1) $(PKGS)

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use

.PHONY: build
build: ## Build bin/picket
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/picket ./cmd/picket

.PHONY: demo
demo: build ## Build, then watch the whole path on real MCP traffic (DEMO_FLAGS=--once ends by itself)
	bin/picket demo $(DEMO_FLAGS)

##@ Test

.PHONY: test
test: $(call tool,$(GOTESTSUM)) ## Run every test; a missing outside tool skips, or fails where CI is set
	@$(call run-tests,$(TESTFLAGS))

.PHONY: check
check: build lint $(call tool,$(GOTESTSUM)) ## Build, lint and run the unit tests: what to run before each commit
	@$(call run-tests,-short $(TESTFLAGS))

# Four runs, of which the last is never the same.
.PHONY: oracle
oracle: ## Compare the engine with a plain evaluator over 10,000 random sets of rules and events (ORACLE_CASES)
	@for seed in 1 2 3 0; do \
		$(GO) test -timeout 2h -count 1 -v -run '^TestOracle$$' ./detect -rapid.checks $$(($(ORACLE_CASES) / 4)) -rapid.seed $$seed || exit 1; \
	done

.PHONY: mutations
mutations: ## Switch parts of the engine off, one at a time, and demand that the oracle finds each
	$(GO) test -timeout 2h -count 1 -v -run '^TestMutationsAreFound$$' ./detect -mutations

.PHONY: model
model: ## Check the formal model of declared batches, and that its mutations fail (needs spin and a C compiler)
	@docs/model/check.sh

# Each ends with one line of JSON on standard output; CHAOS_SEED=N repeats a plan.
.PHONY: chaos chaos-embedded chaos-mutations chaos-long
chaos: ## Kill every process of a pipeline while events come in, and count what is stored
	@$(GO) run ./cmd/internal/chaos

chaos-embedded: ## The same for one picket with the broker and the engine in it
	@$(GO) run ./cmd/internal/chaos -embedded

chaos-mutations: ## Without the token, the fence or the declaration, chaos must find rows twice
	@set -e; for what in token fence declaration; do $(GO) run ./cmd/internal/chaos -weaken $$what; done

chaos-long: ## 100 kills over at least a million events, then the mutations: half an hour and more
	@$(GO) run ./cmd/internal/chaos -long
	@$(MAKE) --no-print-directory chaos-mutations

.PHONY: verify-unit
verify-unit: build ## Have systemd look at the unit (needs systemd-analyze)
	@mkdir -p .cache/unit && sed 's#/usr/local/bin/picket#$(CURDIR)/bin/picket#' deploy/systemd/picket.service > .cache/unit/picket.service
	systemd-analyze verify --man=no .cache/unit/picket.service

.PHONY: race
race: $(call tool,$(GOTESTSUM)) ## Run every test under the race detector (needs a C compiler)
	@$(call run-tests,-race $(TESTFLAGS))

.PHONY: cover
cover: ## Say how much of each package the unit tests reach
	$(GO) test -short -coverprofile=coverage.out $(PKGS)
	@$(GO) tool cover -func=coverage.out | tail -n 1

.PHONY: bench
bench: ## Run the benchmarks on one core (BENCH=regexp picks some; BENCHFLAGS=-count=6 repeats)
	$(GO) test -run '^$$' -cpu 1 -bench '$(BENCH)' -benchmem $(BENCHFLAGS) $(PKGS)

.PHONY: bench-e2e
bench-e2e: build ## Measure the whole path: backlog, latency, CPU, memory (BENCH_EVENTS=1000000; BENCH_FLAGS for more; Linux)
	$(GO) run ./cmd/internal/bench -picket bin/picket -events $(BENCH_EVENTS) $(BENCH_FLAGS)

.PHONY: bench-store
bench-store: ## Say what storing an event costs in CPU, and where: columns, encoding, engine, merges (BATCH=rows of an insert)
	$(GO) test ./store -run '^$$' -bench '^BenchmarkStoring$$' -benchtime 1x -rows $(ROWS) -batch $(BATCH)

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (30s)
	@set -e; for pkg in $$($(GO) list $(PKGS)); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done

##@ Look

.PHONY: lint
lint: $(call tool,$(GOFUMPT)) $(call tool,$(STATICCHECK)) ## Check the format, go vet and staticcheck
	@unformatted=$$($(call tool,$(GOFUMPT)) -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then \
		echo "not formatted; run 'make fmt':"; echo "$$unformatted"; exit 1; \
	fi
	$(GO) vet $(PKGS)
	$(call tool,$(STATICCHECK)) $(PKGS)

.PHONY: fmt
fmt: $(call tool,$(GOFUMPT)) ## Format the code
	$(call tool,$(GOFUMPT)) -w .

.PHONY: vuln
vuln: $(call tool,$(GOVULNCHECK)) ## Look the dependencies up in Go's vulnerability database (needs the network)
	$(call tool,$(GOVULNCHECK)) $(PKGS)

.PHONY: docs
docs: ## Write the pages that are made from the code
	$(GO) generate $(PKGS)

.PHONY: clean
clean: ## Remove what the other targets built
	rm -rf bin coverage.out

# go install names the binary after the tool alone; the version in the file's name makes a new pin build anew.
$(TOOLS)/%:
	@mkdir -p $(@D)
	GOOS= GOARCH= GOBIN=$(@D)/new $(GO) install $(filter %/$*,$(GOFUMPT) $(STATICCHECK) $(GOTESTSUM) $(GOVULNCHECK))
	@mv $(@D)/new/$(firstword $(subst @, ,$*)) $@
