#!/bin/sh
# Start the 9g8b model; first fill in config/models/9g8b.toml.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only babysitter config/models/9g8b.toml "$@"
