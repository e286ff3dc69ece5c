#!/usr/bin/env bash
# Runs each Fuzz target in turn, FUZZTIME each. A new failure stays in the
# package's testdata/fuzz, from where go test runs it ever after.
set -uo pipefail
cd "$(dirname "$0")/.."
failed=0
while read -r file; do
  for target in $(grep -oE '^func Fuzz[A-Za-z0-9_]*' "$file" | cut -d' ' -f2); do
    dir=$(dirname "$file")
    echo "fuzz $target in $dir"
    out=$(go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-20s}" "$dir" 2>&1)
    rc=$?
    tail -n 3 <<<"$out"
    # A worker that is late at the end of the time makes go test fail without a
    # failing input; seen on busy machines.
    if [ $rc -ne 0 ] && grep -q '^ *context deadline exceeded$' <<<"$out" && ! grep -q 'Failing input written' <<<"$out"; then
      echo "  (ended late; no failing input)"
    elif [ $rc -ne 0 ]; then
      echo "$out"
      failed=1
    fi
  done
done < <(grep -rlE '^func Fuzz' --include='*_test.go' . | sort)
exit $failed
