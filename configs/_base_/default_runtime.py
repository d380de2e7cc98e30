"""Hooks, speed switches and seed of every run."""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['wsld_plugin'], allow_failed_imports=False)

default_hooks = dict(
    logger=dict(type='LoggerHook', interval=100),
    # keeps the last two epochs and the best one; 'auto' is the first metric of val_evaluator, accuracy/top1
    checkpoint=dict(type='wsld_plugin.CheckpointHook', interval=1, max_keep_ckpts=2, save_best='auto'),
    # losses are logged without a wait for the device in each step
    runtime_info=dict(type='wsld_plugin.RuntimeInfoHook'),
    # Mixup, dropout and stochastic depth draw the same after a resume
    iteration_seed=dict(type='wsld_plugin.IterationSeedHook'),
    resume_validation=dict(type='wsld_plugin.ResumeValidationHook'),  # the validation that an interruption skipped
    finite_loss=dict(type='wsld_plugin.FiniteLossHook'),              # stops at NaN, keeps the last good checkpoint
    teacher_eval=dict(type='wsld_plugin.TeacherEvalHook'),            # the teacher's accuracy, once, before training
)

# How a step runs: docs/accelerate.md.
accelerate = dict(
    amp=None,            # 'bf16': mixed precision, on a CPU too; 'fp16' with a loss scaler, on a GPU
    channels_last=True,  # the memory order in which convolutions run fastest
    resident=False,      # True: small images stay in device memory and are augmented there; docs/resident.md
    # compile=True,      # or arguments of torch.compile: dict(mode='reduce-overhead')
)

env_cfg = dict(cudnn_benchmark=False)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
load_from = None  # a checkpoint whose weights the run starts from; --resume continues a run
randomness = dict(seed=0, deterministic=False)
