#!/bin/sh
# launch_babysitter.sh [TOML...]: start these instances with their babysitters, or all of them; leave the rest running.
set -eu
exec "$(dirname "$(readlink -f "$0")")/svc" up --only babysitter "$@"
