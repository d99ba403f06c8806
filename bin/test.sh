#!/bin/sh
# test.sh [--all] [pytest's arguments]: linters, types, tests; --all: then, one by one, those that take minutes.
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."
venv=$(bin/venv.sh test,dev,redis,llama,bench)
PATH=$venv/bin:$PATH
all=
if [ "${1:-}" = --all ]; then all=yes; shift; fi

ruff check .
ruff format --check .
mypy
tests() { python -m pytest "$@" || [ $? = 5 ]; }  # 5: there are none of that kind
tests -m 'not long' -n 3 --dist loadfile "$@"  # they mostly wait for processes, so a core bears several
if [ "$all" ]; then tests -m long "$@"; fi
