#!/bin/sh
# Stops the registry, and nothing else.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" down --only registry "$@"
