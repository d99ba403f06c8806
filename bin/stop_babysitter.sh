#!/bin/sh
# stop_babysitter.sh [PORT]: stops the instance at PORT with its babysitter (either's port will do), or all of them.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" down --only babysitter ${1:+--port "$1"}
