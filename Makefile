# make help lists the targets.

GO           ?= go
ROUNDS       ?= 100
FUZZ_SECONDS ?= 180
RACE         ?= . ./internal/... ./retry/... ./signing/... ./store/... ./transform/... ./contrib/...

# Stamping the version fails where git does not trust the folder, and nobody needs it here.
export GOFLAGS := $(GOFLAGS) -buildvcs=false

# The modules below the root that go.work ties to it, as patterns; those that are not there are left out.
BELOW := $(patsubst %/go.mod,./%/...,$(wildcard bench/go.mod cmd/*/go.mod contrib/go.mod))

.PHONY: help test cross race lint fmt fuzz torture bench examples ci tools

help:
	@echo "test      all tests"
	@echo "cross     the cross-checks with the libraries of others; needs Node and npm"
	@echo "race      the tests of the core packages with the race detector"
	@echo "lint      gofumpt, go vet, staticcheck"
	@echo "fmt       format everything"
	@echo "fuzz      all fuzz targets, sharing FUZZ_SECONDS=$(FUZZ_SECONDS)"
	@echo "torture   kill -9 at random moments, ROUNDS=$(ROUNDS) times"
	@echo "bench     the full benchmark, up to 15 minutes; QUICK=1 takes under one"
	@echo "examples  run every example"
	@echo "ci        what every change has to pass"

test:
	$(GO) test ./... $(BELOW)

# Outside of go.work: what it takes is nobody else's business.
cross:
	GOWORK=off $(GO) -C e2e test ./...

race:
	$(GO) test -race $(RACE)

lint: tools
	@unformatted=$$(bin/gofumpt -l .) || exit 1; \
	if [ -n "$$unformatted" ]; then echo "not formatted, run make fmt:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./... $(BELOW)
	bin/staticcheck ./... $(BELOW)

fmt: tools
	bin/gofumpt -w .

# The tools have a module of their own, so that the library does not depend on them.
tools: bin/staticcheck bin/gofumpt

bin/staticcheck bin/gofumpt &: tools/go.mod tools/go.sum
	GOWORK=off $(GO) -C tools build -o ../bin/ tool
	@touch bin/staticcheck bin/gofumpt

fuzz:
	.ci/fuzz $(FUZZ_SECONDS)

torture:
	$(GO) test -count=1 -run TestTorture -timeout 60m -v . -torture.rounds=$(ROUNDS)

bench:
	$(GO) run ./bench $(if $(QUICK),-quick)

examples:
	.ci/examples

ci:
	.ci/run
