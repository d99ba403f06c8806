#!/bin/sh
# stop_babysitter.sh [PORT]: stop the instance at PORT (its own or its babysitter's) with its babysitter, or all of them.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" down --only babysitter ${1:+--port "$1"}
