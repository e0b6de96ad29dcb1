#!/usr/bin/env bash
# launch.sh TOOL PROCESSES [arguments of the tool]: runs a tool of this folder under torchrun; for the dist_ scripts.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
PYTHONPATH="$here/..${PYTHONPATH:+:$PYTHONPATH}" exec python -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    --nproc_per_node="$2" "$here/$1" "${@:3}" --launcher pytorch
