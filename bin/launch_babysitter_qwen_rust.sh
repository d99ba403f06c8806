#!/bin/sh
# Run launch_babysitter_qwen.sh, under the name that older instructions use.
set -eu
exec "$(dirname "$(readlink -f "$0")")/launch_babysitter_qwen.sh" "$@"
