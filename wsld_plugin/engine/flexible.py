"""mmengine's FlexibleRunner, for FSDP and DeepSpeed, and what of a config it does not do."""
from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from mmengine import runner
from mmengine.config import Config
from mmengine.fileio import join_path
from mmengine.logging import print_log

from wsld_plugin.errors import ConfigError
from wsld_plugin.registry import RUNNERS

NAMES = ('FlexibleRunner', 'mmengine.FlexibleRunner', 'wsld_plugin.FlexibleRunner')
# Read by mmengine's Runner alone; where the same is said for a strategy.
_UNREAD = dict(model_wrapper_cfg='strategy.model_wrapper', find_unused_parameters='strategy.model_wrapper',
               sync_bn='strategy.sync_bn', activation_checkpointing='strategy.activation_checkpointing',
               compile='accelerate.compile', efficient_conv_bn_eval='the plain Runner')
# Hooks that copy or replay a model that is whole.
_REFUSED_HOOKS = ('EMAHook', 'CapturedStepHook')


@RUNNERS.register_module()
class FlexibleRunner(runner.FlexibleRunner):
    """mmengine's FlexibleRunner; a checkpoint knows the epoch that it ends.

    mmengine's counts one epoch too many in a checkpoint that is written after its validation, as each that is the
    best so far is: a resumed run would leave an epoch out. It also needs an ``env_cfg``, which a config may lack.
    """

    def build_strategy(self, *args: Any, env_cfg: dict | None = None, **kwargs: Any) -> Any:
        """The strategy as mmengine builds it."""
        return super().build_strategy(*args, env_cfg=env_cfg or {}, **kwargs)

    def save_checkpoint(self, out_dir: str, filename: str, file_client_args: dict | None = None,
                        save_optimizer: bool = True, save_param_scheduler: bool = True, meta: dict | None = None,
                        by_epoch: bool = True, backend_args: dict | None = None) -> None:
        """Write a checkpoint; what ``meta`` says of epoch and iteration stands."""
        meta = dict(epoch=self.epoch + by_epoch, iter=self.iter + (not by_epoch)) | (meta or {})
        meta.update(cfg=self.cfg.pretty_text, experiment_name=self.experiment_name)
        if hasattr(self.train_dataloader.dataset, 'metainfo'):
            meta['dataset_meta'] = self.train_dataloader.dataset.metainfo
        self.strategy.save_checkpoint(
            filename=join_path(out_dir, filename, backend_args=backend_args), save_optimizer=save_optimizer,
            save_param_scheduler=save_param_scheduler,
            extra_ckpt=dict(meta=meta, message_hub=self.message_hub.state_dict()),
            callback=lambda checkpoint: self.call_hook('before_save_checkpoint', checkpoint=checkpoint))


def is_flexible(cfg: Mapping[str, Any]) -> bool:
    """Whether a config is run by FlexibleRunner."""
    return cfg.get('runner_type') in NAMES


def settle_flexible(cfg: Config) -> None:
    """Refuse or leave out, with a line in the log, what FlexibleRunner would pass over silently; in place.

    Args:
        cfg: a training config, ``accelerate`` in it; one that another runner runs stays as it is.

    Raises:
        ConfigError: a key that is not read there, or a hook that needs the model whole in each process.
    """
    if not is_flexible(cfg):
        return
    for key, instead in _UNREAD.items():
        if cfg.get(key):
            raise ConfigError(f'{key}: FlexibleRunner does not read it. Its place is {instead}.')
    for hook in _hooks(cfg):
        if hook.split('.')[-1] in _REFUSED_HOOKS:
            raise ConfigError(f'{hook} needs the model whole and unwrapped in each process, and FlexibleRunner '
                              "wraps it or divides it. Take the hook out, or train with the plain Runner: "
                              "runner_type='Runner'.")
    if cfg.accelerate.get('channels_last'):
        cfg.accelerate.channels_last = False
        print_log('accelerate.channels_last: left out, FSDP and DeepSpeed lay out the weights anew.')
    cfg.runner_type = 'wsld_plugin.FlexibleRunner'


def needs_launcher(cfg: Mapping[str, Any]) -> bool:
    """Whether a config divides a model among processes, of which there may be one."""
    name = str((cfg.get('strategy') or {}).get('type', ''))
    return is_flexible(cfg) and any(part in name for part in ('FSDP', 'DeepSpeed', 'DDP'))


def _hooks(cfg: Mapping[str, Any]) -> Iterator[str]:
    for hook in [*(cfg.get('custom_hooks') or ()), *(cfg.get('default_hooks') or {}).values()]:
        kind = hook.get('type', '') if isinstance(hook, Mapping) else hook
        yield kind if isinstance(kind, str) else getattr(kind, '__name__', type(kind).__name__)
