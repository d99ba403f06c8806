#!/bin/sh
# Print the steps of a deployment on three hosts: one for registry and router, two for instances.
set -eu
cat <<'STEPS'
The registry and the router are on 192.0.2.1, instances on 192.0.2.11 and 192.0.2.12.

1. On 192.0.2.1, listen for the others (a registry that they write to needs a token: docs/DISTRIBUTED_DEPLOYMENT_README.md):
     export REGISTRY_HOST=0.0.0.0 ROUTER_HOST=0.0.0.0 REGISTRY_TOKEN_FILE=/etc/infinilm/token
     ./bin/launch_registry.sh
     ./bin/launch_router.sh
2. On each instance host, with its own address and a TOML for each instance in config/ (with token_file):
     export REGISTRY_URL=http://192.0.2.1:18000 BABYSITTER_HOST=192.0.2.11
     ./bin/launch_babysitter.sh
3. On 192.0.2.1, look at what runs and ask for an answer:
     curl http://localhost:18000/services
     curl http://192.0.2.1:8000/v1/models
4. nginx in front of the router (docs/NGINX.md):
     ./bin/svc render --nginx
5. To stop a host:
     ./bin/stop_all.sh

With the original's JSON files in config/deployment_configs, ./bin/deploy_services.sh does the steps 1, 2 and 4.
STEPS
