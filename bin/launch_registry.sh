#!/bin/sh
# Starts the registry, beside what else runs.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only registry "$@"
