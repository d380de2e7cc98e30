"""How good the teacher is on the validation set: measured once."""
from __future__ import annotations

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from mmpretrain.structures import DataSample

from wsld_plugin.registry import HOOKS


@HOOKS.register_module()
class TeacherEvalHook(Hook):
    """Validate the teacher once, before training, in the student's classes and with its metrics.

    The result is logged, goes to the visualizer's backends as ``teacher/<metric>`` at step 0, and travels
    in the checkpoint, so that a resumed run does not measure again. The random state is left as it was.
    A run without a validation set leaves it out and says so, as does a teacher with ``reads_labels``, which
    would always be right; a model without a teacher is left alone.
    """

    def before_train(self, runner: Runner) -> None:
        """Measure, or recall what was measured."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        if not hasattr(model, 'teacher_logits'):
            return
        if getattr(model.teacher, 'reads_labels', False):
            runner.logger.info('The teacher is not validated: it reads the labels.')
            return
        metrics = runner.message_hub.runtime_info.get('teacher_metrics')
        if metrics is None:
            if runner.val_loop is None:
                runner.logger.info('The teacher is not validated: this run has no validation set.')
                return
            metrics = self._measure(runner, model)
            runner.message_hub.update_info('teacher_metrics', metrics)
            runner.visualizer.add_scalars({f'teacher/{name}': value for name, value in metrics.items()}, step=0)
        runner.logger.info('Teacher: ' + '  '.join(f'{name}: {value:.4f}' for name, value in metrics.items()))

    @staticmethod
    @torch.no_grad()
    def _measure(runner: Runner, model: Any) -> dict[str, float]:
        loader, evaluator = runner.val_loop.dataloader, runner.val_loop.evaluator
        was_training = model.training
        model.eval()
        with torch.random.fork_rng(devices=[]):  # a loader draws a seed for its workers
            for batch in loader:
                data = model.data_preprocessor(batch, False)
                logits = model.teacher_logits(data['inputs'], data['data_samples'])
                evaluator.process(data_samples=[_predicted(sample, row) for sample, row
                                                in zip(data['data_samples'], logits, strict=True)],
                                  data_batch=batch)
        model.train(was_training)
        return {name: float(value) for name, value in evaluator.evaluate(len(loader.dataset)).items()}


def _predicted(sample: DataSample, logits: torch.Tensor) -> DataSample:
    scores = logits.softmax(dim=-1)
    return sample.set_pred_score(scores).set_pred_label(scores.argmax(dim=-1, keepdim=True))
