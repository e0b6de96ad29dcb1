#!/usr/bin/env bash
# tools/dist_train.sh CONFIG GPUS [options of train.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT, one call on each. Without a GPU, GPUS counts processes.
set -euo pipefail
here=$(dirname "$0")
exec "$here/launch.sh" train.py "${2:?usage: dist_train.sh CONFIG GPUS [options]}" "$1" "${@:3}"
