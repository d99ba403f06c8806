#!/bin/sh
# Run launch_all.sh, under the name that older instructions use.
set -eu
exec "$(dirname "$(readlink -f "$0")")/launch_all.sh" "$@"
