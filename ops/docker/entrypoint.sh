#!/bin/bash
# entrypoint.sh COMMAND...: runs the command in the environment of the image's accelerator and Python, where it has them:
# conda's base environment, then env-set.sh of the working directory (/app) or of /workspace. Such files want bash.
command=("$@")
conda=${CONDA_ROOT:-/opt/conda}
if [ -f "$conda/etc/profile.d/conda.sh" ]; then
    . "$conda/etc/profile.d/conda.sh" && conda activate base || exit 1
fi
for file in "$PWD/env-set.sh" /workspace/env-set.sh; do
    if [ -f "$file" ]; then
        . "$file" >&2 || echo "$file: its last command failed; going on" >&2
        break
    fi
done
exec "${command[@]}"
