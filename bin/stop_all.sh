#!/bin/sh
# Stop everything that was launched, then supervisord.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" down "$@"
