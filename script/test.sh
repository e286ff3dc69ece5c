#!/usr/bin/env bash
# Runs every test under the race detector and says at the end what was skipped
# and why, and what failed. The full log stays in bin/test.log, the pictures that
# browser tests take, of pages as they are and of those that failed, in bin/shots.
#
# Many tests measure time, and CI's machine is shared: up to five that failed
# run once more, alone. One that passes then is named as flaky, one that fails
# again has failed. A data race, a panic and a package that does not build are
# never asked twice.
set -uo pipefail
cd "$(dirname "$0")/.."
timeout=${TIMEOUT:-40m}
log=bin/test.log
export BRAID_SHOTS=$PWD/bin/shots
rm -rf "$BRAID_SHOTS"
mkdir -p "$BRAID_SHOTS"
: >"$log"

# run shows go test's lines as they come, without the start lines of -v.
run() {
  go test -race -v -count=1 -timeout "$timeout" "$@" 2>&1 | tee -a "$log" |
    grep --line-buffered -vE '^=== (RUN|PAUSE|CONT|NAME)|^ +--- PASS'
  return "${PIPESTATUS[0]}"
}

# again runs what has failed once more, package by package.
again() {
  if grep -qE '^WARNING: DATA RACE|^panic:|^fatal error:|\[(build|setup) failed\]' "$log"; then return 1; fi
  local lines package tests
  # The names of a package's failed tests stand before its own line.
  lines=$(awk '/^--- FAIL: /{names = names "|" $3; n++}
    /^FAIL\t/{print $2, (names == "" ? "?" : substr(names, 2)); names = ""}
    END{if (n > 5) print "many ?"}' "$log")
  echo "failed once, runs again:"
  echo "$lines"
  if grep -q '?' <<<"$lines"; then return 1; fi
  while read -r package tests; do
    run -run "^($tests)\$" "$package" || return 1
  done <<<"$lines"
  echo "flaky, passed when run alone:"
  echo "$lines"
}

# The end-to-end tests measure frame rates and delays: they get the machine for
# themselves, after the packages that have no such wishes. Those of them that mostly
# wait run side by side at the end.
mapfile -t units < <(go list ./... | grep -v '/cmd/braid$')
failed=0
run "${units[@]}" || failed=1
run -parallel 4 ./cmd/braid || failed=1
if [ $failed -ne 0 ] && again; then failed=0; fi

# The reason stands in the line before.
skipped=$(grep -B1 -E '^ *--- SKIP' "$log" | grep -v '^--$')
if [ -n "$skipped" ]; then
  echo "skipped:"
  echo "$skipped"
fi
if [ $failed -ne 0 ]; then
  echo "failed:"
  grep -B12 -E '^ *--- FAIL|^panic:|DATA RACE' "$log" | grep -vE '^=== |^ *--- (PASS|SKIP)' | tail -n 120
fi
exit $failed
