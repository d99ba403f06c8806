#!/bin/sh
# Start the router; leave the rest running.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only router "$@"
