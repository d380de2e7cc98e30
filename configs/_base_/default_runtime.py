"""What every run has around its loop."""
default_scope = 'mmpretrain'
custom_imports = dict(imports=['wsld_plugin'], allow_failed_imports=False)

default_hooks = dict(
    # no step waits for the device to tell its losses; mmengine's RuntimeInfoHook reads them in every iteration
    runtime_info=dict(type='wsld_plugin.RuntimeInfoHook'),
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=100),
    param_scheduler=dict(type='ParamSchedulerHook'),
    # keeps the last epoch and the best one; 'auto' is the first metric of val_evaluator, accuracy/top1
    checkpoint=dict(type='wsld_plugin.CheckpointHook', interval=1, max_keep_ckpts=1, save_best='auto'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
    # Mixup, dropout and stochastic depth: the same after a resume
    iteration_seed=dict(type='wsld_plugin.IterationSeedHook'),
    # a checkpoint is written before its epoch is validated: a resumed run makes up for it
    resume_validation=dict(type='wsld_plugin.ResumeValidationHook'),
    finite_loss=dict(type='wsld_plugin.FiniteLossHook'),
    teacher_eval=dict(type='wsld_plugin.TeacherEvalHook'),  # idle where there is no teacher
)

# How a step runs, not what it computes; each part can be switched off alone.
accelerate = dict(
    amp=None,              # 'bf16': mixed precision, on a CPU too; 'fp16' with a loss scaler, on a GPU
    channels_last=True,    # the memory order in which convolutions run fastest; False: N, C, H, W
    fold_teacher_bn=True,  # the teacher's BatchNorms become part of its convolutions; False: computed apart
    compile=False,         # True: torch.compile for the backbones, a minute at the start
    resident=False,        # True: small images live on the device and are augmented there; docs/resident.md
    cuda_graph=False,      # True, with resident: the whole step in one launch, on a GPU
    decode=None,           # 'scaled': decode of a JPEG no more than its crop needs; 'exact': without scaling it
)

env_cfg = dict(
    cudnn_benchmark=False,
    # OpenCV's own threads would multiply with the workers of the data loader
    mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0),
    dist_cfg=dict(backend='nccl'),
)
visualizer = dict(type='UniversalVisualizer', vis_backends=[dict(type='LocalVisBackend')])
log_level = 'INFO'
load_from = None
resume = False
randomness = dict(seed=0, deterministic=False)
