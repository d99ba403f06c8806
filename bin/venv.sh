#!/bin/sh
# venv.sh [EXTRAS]: print the directory of the virtual environment; create or update .venv where needed.
# EXTRAS: such as test,dev. SVC_VENV=DIR: use this environment as it is.
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."
if [ -n "${SVC_VENV:-}" ]; then echo "$SVC_VENV"; exit; fi

extras=${1:-}
installed=.venv/.installed${extras:+-$extras}
wanted="$PWD $(cksum < setup.cfg)"
if [ "$(cat "$installed" 2> /dev/null)" != "$wanted" ]; then
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2> /dev/null ||
        { echo "python3: 3.10 or newer is needed: apt install python3 python3-venv" >&2; exit 1; }
    python3 -c 'import ensurepip' 2> /dev/null ||
        { echo "python3 cannot make a virtual environment: apt install python3-venv" >&2; exit 1; }
    echo "installing infinilm-svc${extras:+ with $extras} into .venv (once; a minute or two)" >&2
    # Replace an environment that is incomplete, was made in another directory, or has lost its Python.
    { grep -qsF "$PWD " .venv/.installed && .venv/bin/python -c '' 2> /dev/null; } || python3 -m venv --clear .venv >&2
    quiet=--quiet
    if [ -t 2 ]; then quiet=; fi  # on a terminal, pip shows what it downloads
    # uv installs a developer's packages in 10 s, and pip in 70. What uv cannot, such as to read pip.conf, pip does.
    export PIP_DISABLE_PIP_VERSION_CHECK=1 UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-${PIP_INDEX_URL:-https://pypi.org/simple}}"
    pip() { .venv/bin/python -m $uv pip install $quiet "$@" >&2; }
    set -- --editable ".${extras:+[$extras]}"
    case ",$extras," in *,dev,*) uv= pip uv && uv=uv pip "$@" ;; *) false ;; esac || uv= pip "$@" || {
        echo "pip cannot install into .venv; it needs PyPI, or a mirror: export PIP_INDEX_URL=..., then again" >&2; exit 1
    }
    echo "$wanted" | tee .venv/.installed "$installed" > /dev/null
fi
echo "$PWD/.venv"
