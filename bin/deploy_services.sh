#!/bin/sh
# deploy_services.sh [-c DIRECTORY] COMMAND: start or stop the parts that the JSON files in config/deployment_configs describe.
set -eu
cd "$(dirname "$(readlink -f "$0")")/.."
venv=$(bin/venv.sh)
exec "$venv/bin/python" -m svc.cli.original.deploy_services "$@"
