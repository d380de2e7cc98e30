# Sourced by the launchers beside it. PYTHON chooses the interpreter [python].

torchrun_here() {  # PROCESSES SCRIPT [arguments]
    local processes=$1 nodes=${NNODES:-1} port=${PORT:-}
    shift
    if [ -z "$port" ] && [ "$nodes" = 1 ]; then
        port=$("${PYTHON:-python}" -c 'import socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    print(free.getsockname()[1])')
    fi
    # 29500: several machines must agree on a port without asking each other
    OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} exec "${PYTHON:-python}" -m torch.distributed.run \
        --nnodes="$nodes" --node_rank="${NODE_RANK:-0}" --master_addr="${MASTER_ADDR:-127.0.0.1}" \
        --nproc_per_node="$processes" --master_port="${port:-29500}" "$@"
}

srun_here() {  # PARTITION JOB_NAME SCRIPT [arguments]
    local partition=$1 job=$2 gpus=${GPUS:-8} per_node=${GPUS_PER_NODE:-8}
    shift 2
    [ "$per_node" -le "$gpus" ] || per_node=$gpus
    # shellcheck disable=SC2086  # SRUN_ARGS is a list
    exec srun -p "$partition" --job-name="$job" --gres=gpu:"$per_node" --ntasks="$gpus" \
        --ntasks-per-node="$per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
        ${SRUN_ARGS:-} "${PYTHON:-python}" -u "$@" --launcher slurm
}
