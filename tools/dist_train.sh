#!/usr/bin/env bash
# Train with several processes on this machine, one a GPU; without a GPU they run on the CPU (gloo).
#   bash tools/dist_train.sh CONFIG GPUS [--max-restarts N] [arguments of train.py]
# --max-restarts: where a process dies, all start again from the last checkpoint, at most N times.
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT, the same PORT on each.
set -eu
[ $# -ge 2 ] || { sed -n '2,5p' "$0" | cut -c3- >&2; exit 2; }
config=$1 gpus=$2
shift 2
. "$(dirname "$0")/_launch.sh"
torchrun_here "$gpus" "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
