#!/bin/sh
# docs.sh [DIRECTORY]: builds the site of the documents, by default in docs/_build, and prints its first page. Fails on a warning.
set -eu
out=$(readlink -f "${1:-$(dirname "$(readlink -f "$0")")/../docs/_build}")
cd "$(dirname "$(readlink -f "$0")")/.."
venv=$(bin/venv.sh docs)
"$venv/bin/python" -m sphinx -q -W --keep-going -n -b html docs "$out"
echo "$out/index.html"
