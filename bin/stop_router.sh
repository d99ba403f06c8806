#!/bin/sh
# Stop the router once the requests in progress are finished; leave the rest running.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" down --only router "$@"
