#!/bin/sh
# test.sh [--all] [pytest's arguments]: linters, types and tests, side by side; --all: then, one by one, tests that take minutes, and the router with 3 processes.
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."
venv=$(bin/venv.sh test,dev,redis,llama,bench)
PATH=$venv/bin:$PATH
unset PYTHONDONTWRITEBYTECODE  # else each process that the tests start compiles svc anew
all=
if [ "${1:-}" = --all ]; then all=yes; shift; fi

ruff check .
ruff format --check .
lint=$(mktemp)
mypy > "$lint" 2>&1 & mypy=$!
trap 'kill "$mypy" 2> /dev/null || true; rm -f "$lint"' EXIT
tests() { python -m pytest "$@" || [ $? = 5 ]; }  # 5: no test is of that kind
failed=
# Most tests wait for processes, so a core bears several; tests/conftest.py has the order of the files.
tests -m 'not long' -n 4 --dist loadfile --no-loadscope-reorder "$@" || failed=yes
if [ "$all" ]; then
    tests -m long "$@" || failed=yes
    ROUTER_WORKERS=3 tests -m 'not long' -n 4 --dist loadfile tests/integration/router || failed=yes
fi
wait "$mypy" || failed=yes
cat "$lint"
[ ! "$failed" ]
