#!/bin/sh
# Start the registry; leave the rest running.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only registry "$@"
