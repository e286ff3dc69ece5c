#!/usr/bin/env bash
# Runs every test under the race detector and says at the end what was skipped
# and why. The full log stays in bin/test.log.
set -uo pipefail
cd "$(dirname "$0")/.."
timeout=${TIMEOUT:-40m}
log=bin/test.log
mkdir -p bin
: >"$log"

# run shows go test's lines as they come, without the start lines of -v.
run() {
  go test -race -v -count=1 -timeout "$timeout" "$@" 2>&1 | tee -a "$log" |
    grep --line-buffered -vE '^=== (RUN|PAUSE|CONT|NAME)|^ +--- PASS'
  return "${PIPESTATUS[0]}"
}

# The end-to-end tests measure frame rates and delays: they get the machine for
# themselves, after the packages that have no such wishes.
mapfile -t units < <(go list ./... | grep -v '/cmd/braid$')
failed=0
run "${units[@]}" || failed=1
run ./cmd/braid || failed=1

# The reason stands in the line before.
skipped=$(grep -B1 -E '^ *--- SKIP' "$log" | grep -v '^--$')
if [ -n "$skipped" ]; then
  echo "skipped:"
  echo "$skipped"
fi
if [ $failed -ne 0 ]; then
  echo "failed:"
  grep -E '^ *--- FAIL|^FAIL|^panic:|DATA RACE' "$log"
fi
exit $failed
