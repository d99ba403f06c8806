#!/bin/sh
# Stop the registry; leave the rest running.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" down --only registry "$@"
