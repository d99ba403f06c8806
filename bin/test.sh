#!/bin/sh
# test.sh [--all] [pytest's arguments]: linters, types and tests, side by side; --all: then, one by one, tests that take minutes, many random examples, and the router with 3 processes.
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."
PATH=$(bin/venv.sh test,dev,redis,llama,bench)/bin:$PATH
unset PYTHONDONTWRITEBYTECODE  # else each process that the tests start compiles svc anew
all=
if [ "${1:-}" = --all ]; then all=yes; shift; fi
ruff check .
ruff format --check .
output=$(mktemp -d)
mypy > "$output/mypy" 2>&1 & mypy=$!
unit=
trap 'kill "$mypy" $unit 2> /dev/null || true; rm -rf "$output"' EXIT
tests() { python -m pytest "$@" || [ $? = 5 ]; }  # 5: no test is of that kind
failed=
if [ $# = 0 ]; then  # each process of pytest reads all of its tests: the many of tests/unit are read by one only
    python -m pytest -m 'not long' tests/unit > "$output/unit" 2>&1 & unit=$!
fi
# Most tests wait for processes, so a core bears several; tests/conftest.py has the order of the files.
tests -m 'not long' -n 4 --dist loadfile --no-loadscope-reorder ${unit:+--ignore tests/unit} "$@" || failed=yes
if [ "$all" ]; then
    tests -m long "$@" || failed=yes
    tests -m 'not long' --hypothesis-profile thorough -n 2 tests/unit || failed=yes
    ROUTER_WORKERS=3 tests -m 'not long' -n 4 --dist loadfile tests/integration/router || failed=yes
fi
if [ "$unit" ]; then wait "$unit" || failed=yes; cat "$output/unit"; fi
wait "$mypy" || failed=yes
cat "$output/mypy"
[ ! "$failed" ]
