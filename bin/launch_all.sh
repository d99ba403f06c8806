#!/bin/sh
# Start the whole site and wait until it answers. Settings are environment variables: see README.md.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up "$@"
