#!/usr/bin/env bash
# Test with several processes on this machine, one a GPU; without a GPU they run on the CPU (gloo).
#   bash tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of test.py]
# Several machines: set NNODES, NODE_RANK, MASTER_ADDR and PORT, the same PORT on each.
set -eu
[ $# -ge 3 ] || { sed -n '2,4p' "$0" | cut -c3- >&2; exit 2; }
config=$1 checkpoint=$2 gpus=$3
shift 3
. "$(dirname "$0")/_launch.sh"
torchrun_here "$gpus" "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher pytorch "$@"
