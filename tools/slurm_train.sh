#!/usr/bin/env bash
# Train on a Slurm cluster, one process a GPU.
#   bash tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py]
# Settings: GPUS [8], GPUS_PER_NODE [8], CPUS_PER_TASK [5], SRUN_ARGS; without GPUs GPUS=0 and TASKS [1].
set -eu
[ $# -ge 3 ] || { sed -n '2,4p' "$0" | cut -c3- >&2; exit 2; }
partition=$1 job=$2
shift 2
. "$(dirname "$0")/_launch.sh"
srun_here "$partition" "$job" "$(dirname "$0")/train.py" "$@"
