#!/bin/sh
# Starts the router, beside what else runs.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only router "$@"
