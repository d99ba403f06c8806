#!/bin/sh
# launch_babysitter.sh [TOML...]: starts these instances with their babysitters, or all; leaves the rest as it is.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only babysitter "$@"
