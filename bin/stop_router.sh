#!/bin/sh
# Stops the router, and nothing else: requests that have begun are finished first.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" down --only router "$@"
