#!/bin/sh
# test.sh [--all] [pytest's arguments]: linters, types and tests; --all runs the tests that take minutes too.
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."
venv=$(bin/venv.sh test,dev,redis,llama,bench)
PATH=$venv/bin:$PATH
which='not long'
if [ "${1:-}" = --all ]; then which=; shift; fi

ruff check .
ruff format --check .
mypy
exec python -m pytest -m "$which" "$@"
