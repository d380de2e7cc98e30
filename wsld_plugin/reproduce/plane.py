"""What a plan's students were given, measured, beside what they came to."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.registry import DATASETS, DefaultScope

from wsld_plugin.analysis.plane_plot import PlanePoint, plot_plane
from wsld_plugin.config.load import load_config
from wsld_plugin.datasets.weak import WeakLabels, measure
from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.files import check_picture
from wsld_plugin.losses.checks import HIDDEN

from .plan import Cell, Plan
from .report import Score, aligned_table
from .runs import finished


def draw_plane(plan: Plan, work_dir: Path, path: str | Path) -> str:
    """Draw the accuracies of a plan's finished runs over the unreliability Δ and the ambiguity γ of their labels.

    Args:
        plan: whose students learn from candidate sets (`PartialLabels`) or from labels (`NoisyLabels`), a set of one.
        work_dir: the folder of all runs.
        path: the PNG.

    Returns:
        A table of the same, with Δ and γ measured against the true labels, as text.

    Raises:
        ConfigError: a cell whose training set has neither; another file than a PNG. RunError: nothing is finished.
    """
    check_picture(path, 'plane.png')
    found: list[tuple[Cell, PlanePoint]] = []
    for cell, runs in plan.runs(work_dir, check_files=False).items():
        results = [result for result in map(finished, runs) if result]
        if results:
            found.append((cell, PlanePoint(*_measured(cell, plan), [result.last_accuracy for result in results])))
    if not found:
        raise RunError(f'no run of {plan.name} is finished in {work_dir}: train them with tools/reproduce.py first.')
    plot_plane(path, [point for _, point in found], plan.title)
    cells = [['', '', 'measured Δ', 'measured γ', 'Δ + γ', 'last epoch, %', 'n']]
    for cell, (unreliability, ambiguity, accuracies) in found:
        cells.append([cell.row, cell.method, f'{unreliability:.3f}', f'{ambiguity:.3f}',
                      f'{unreliability + ambiguity:.2f}', str(Score.of(accuracies)), str(len(accuracies))])
    return aligned_table(cells)


def _measured(cell: Cell, plan: Plan) -> tuple[float, float]:
    cfg = load_config(cell.config, {**dict(plan.options), **dict(cell.options)})
    with DefaultScope.overwrite_default_scope(cfg.get('default_scope') or 'mmengine'):
        dataset = DATASETS.build(dict(cfg.train_dataloader.dataset))
    sets = getattr(dataset, 'candidates', None)
    if not isinstance(dataset, WeakLabels) or (sets is None and (dataset.get_gt_labels() == HIDDEN).any()):
        raise ConfigError(f'{cell}: its training set, {type(dataset).__name__}, gives neither sets of candidates nor '
                          'a label to each sample, as PartialLabels and NoisyLabels do. Take other rows with --rows.')
    return measure(_one_class_sets(dataset) if sets is None else sets, dataset.given_labels)


def _one_class_sets(dataset: WeakLabels) -> np.ndarray:
    labels: Sequence[int] = dataset.get_gt_labels()
    return np.eye(dataset.num_classes, dtype=bool)[labels]
