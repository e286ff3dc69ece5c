# make run    installs what is missing (Debian 12, root), builds, starts the server: make run ARGS="-config my.yaml"
# make test   the same set-up plus the tests' programs, then every check there is
# make soak   users come and go for 10 minutes, and nothing of them may be left: make soak CHURN=1h
#
# What CI runs is .ci/run, which is make test.

SHELL       := /bin/bash
.SHELLFLAGS := -o pipefail -c

ARGS     ?=
FUZZTIME ?= 20s
TIMEOUT  ?= 20m
CHURN    ?= 10m
BENCH    ?= .

# A checkout owned by another user (a container's bind mount) makes git refuse,
# and with it go build's version stamping.
GOBUILD := go build -trimpath -buildvcs=false

.PHONY: run test race bench bench-sfu impair faults soak lint fuzz e2e build setup-run setup-test clean

run: setup-run build
	exec bin/braid serve $(ARGS)

build:
	CGO_ENABLED=0 $(GOBUILD) -o bin/braid ./cmd/braid
	CGO_ENABLED=1 $(GOBUILD) -o bin/braid-mixer ./cmd/braid-mixer

setup-run:
	@script/setup.sh run

setup-test:
	@script/setup.sh test

test race: setup-test build lint
	script/test.sh

# The whole server with its real clients: Chromium, ffmpeg, nginx-rtmp, Pion.
e2e: setup-test build
	go test -race -v -count=1 -timeout $(TIMEOUT) ./cmd/braid

bench: build
	go test -run '^$$' -bench '$(BENCH)' -benchtime 1x -timeout $(TIMEOUT) -v ./cmd/braid
	go test -run '^$$' -bench '$(BENCH)' -timeout $(TIMEOUT) -v ./callback ./store

# Forwarding beside a plain Pion forwarder: the server on one core, the load on another.
bench-sfu: build
	go test -run '^$$' -bench 'SFU' -benchtime 1x -timeout $(TIMEOUT) -v ./cmd/braid

# Calls between two Chromiums over bad networks, 13 minutes (doc/reliability.md).
# IMPAIR_SECONDS=60 for each cell, IMPAIR_CELLS='loss|blackout' for some, IMPAIR_HEIGHT=360.
impair: setup-test
	BRAID_IMPAIR=1 go test -count=1 -run '^TestImpairmentTable$$' -timeout 90m -v ./cmd/braid

# Pushes over broken ways to their origins, a minute (doc/relay.md).
faults:
	go test -count=1 -parallel 8 -run '^TestFaults$$' -timeout $(TIMEOUT) -v ./relay

# Without the race detector, whose own memory grows; with Go's search for
# goroutines that are blocked for good. make test has 20 seconds of it, with -race.
soak:
	CHURN=$(CHURN) GOEXPERIMENT=goroutineleakprofile go test -count=1 -v -timeout 0 -run '^TestChurn$$' ./signaling/rtc

lint:
	@unformatted=$$(gofmt -l cmd event callback internal media metrics mixer origin relay sei signaling store testdata web 2>/dev/null); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w these files:"; echo "$$unformatted"; exit 1; fi
	go vet ./...

fuzz:
	FUZZTIME=$(FUZZTIME) script/fuzz.sh

clean:
	rm -rf bin
