#!/bin/sh
# The same as launch_all.sh, by the name that older instructions use: there is one implementation.
set -eu
exec "$(dirname "$(readlink -f "$0")")/launch_all.sh" "$@"
