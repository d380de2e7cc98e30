"""The student in shards, one a process: PyTorch's FSDP through mmengine's FlexibleRunner. Starts with a launcher."""
runner_type = 'FlexibleRunner'
strategy = dict(
    type='wsld_plugin.FSDPStrategy',
    model_wrapper=dict(
        type='MMFullyShardedDataParallel',
        # gradients and optimizer state in shards, the weights whole during a step (as ZeRO-2); 'FULL_SHARD': these
        # too; 'NO_SHARD': nothing, as DDP
        sharding_strategy='SHARD_GRAD_OP',
        # one unit. To divide a large student further add auto_wrap_policy; a head must not be a unit of its own,
        # for its loss is called past the wrapper
        use_orig_params=True))
