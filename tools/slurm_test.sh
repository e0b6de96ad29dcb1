#!/usr/bin/env bash
# tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options of test.py]
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK and SRUN_ARGS as in MMAction2.
set -euo pipefail
: "${4:?usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [options]}"
exec "$(dirname "$0")/slurm.sh" test.py "$@"
