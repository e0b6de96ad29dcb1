#!/usr/bin/env bash
# tools/slurm_train.sh PARTITION JOB_NAME CONFIG [options of train.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in MMAction2.
set -euo pipefail
: "${3:?usage: slurm_train.sh PARTITION JOB_NAME CONFIG [options]}"
exec "$(dirname "$0")/slurm.sh" train.py "$@"
