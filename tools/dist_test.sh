#!/usr/bin/env bash
# tools/dist_test.sh CONFIG CHECKPOINT GPUS [options of test.py]
# Several machines: NNODES, NODE_RANK, MASTER_ADDR and PORT, one call on each. Without a GPU, GPUS counts processes.
set -euo pipefail
here=$(dirname "$0")
exec "$here/launch.sh" test.py "${3:?usage: dist_test.sh CONFIG CHECKPOINT GPUS [options]}" "$1" "$2" "${@:4}"
