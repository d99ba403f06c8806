#!/bin/sh
# Start the Qwen model; first fill in config/models/qwen.toml.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only babysitter config/models/qwen.toml "$@"
