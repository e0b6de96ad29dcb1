#!/usr/bin/env bash
# slurm.sh TOOL PARTITION JOB_NAME [arguments of the tool]: runs a tool of this folder under srun; for the slurm_ scripts.
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in MMAction2.
set -euo pipefail
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}" exec srun -p "$2" --job-name="$3" --gres="gpu:$per_node" \
    --ntasks="$gpus" --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} python -u "$here/$1" "${@:4}" --launcher slurm
