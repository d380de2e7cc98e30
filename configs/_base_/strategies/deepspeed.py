"""Optimizer state in shards, one a process: DeepSpeed through mmengine's FlexibleRunner. Starts with a launcher.

The config also needs optim_wrapper=dict(type='DeepSpeedOptimWrapper').
"""
runner_type = 'FlexibleRunner'
strategy = dict(
    type='wsld_plugin.DeepSpeedStrategy',
    zero_optimization=dict(stage=1),  # 2: the gradients in shards too; 3 is refused
    # mixed precision is DeepSpeed's own here: bf16=dict(enabled=True), inputs_to_half=['inputs']; not run
    config=dict(zero_allow_untested_optimizer=True))  # PyTorch's SGD; tests/engine/test_flexible.py compares it
