# Sourced by the launchers beside it. PYTHON chooses the interpreter [python].

torchrun_here() {  # PROCESSES SCRIPT [arguments, with or without --max-restarts N]
    local processes=$1 restarts=0 rest=() where=(--standalone)
    shift
    while [ $# -gt 0 ]; do
        case $1 in
            --max-restarts) restarts=${2:?--max-restarts needs a number}; shift ;;
            --max-restarts=*) restarts=${1#*=} ;;
            *) rest+=("$1") ;;
        esac
        shift
    done
    if [ "${NNODES:-1}" != 1 ]; then  # each machine is told its number, and none asks the others
        [ "$restarts" = 0 ] || { echo '--max-restarts: expected one machine, NNODES=1' >&2; exit 2; }
        where=(--nnodes="$NNODES" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}"
               --master_port="${PORT:-29500}")
    fi
    # a store of its own for every start: in a shared one the processes would find the addresses of dead ones
    export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} exec "${PYTHON:-python}" -m torch.distributed.run "${where[@]}" \
        --nproc_per_node="$processes" --max_restarts="$restarts" "${rest[@]}"
}

srun_here() {  # PARTITION JOB_NAME SCRIPT [arguments]
    local partition=$1 job=$2 gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    local tasks=(--ntasks="${TASKS:-1}")
    shift 2
    if [ "$gpus" != 0 ]; then
        [ "$per_node" -le "$gpus" ] || per_node=$gpus
        tasks=(--gres=gpu:"$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node")
    fi
    # shellcheck disable=SC2086  # SRUN_ARGS is a list
    exec srun -p "$partition" --job-name="$job" "${tasks[@]}" --cpus-per-task="${CPUS_PER_TASK:-5}" \
        --kill-on-bad-exit=1 ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$@" --launcher slurm
}
