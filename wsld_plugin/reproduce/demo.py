"""The demonstration: does a student of few labels learn more from soft labels?"""
from __future__ import annotations

import json
import time
from pathlib import Path

from wsld_plugin.engine.atomic import write_atomically

from .report import Row, as_json, machine, markdown_table, summarise
from .runs import Result, Run, train_all

_CONFIGS = Path(__file__).parents[2] / 'configs'
TEACHER = 'teacher'
_TEACHER_CONFIG = _CONFIGS / 'baselines/resnet18-w32_digits.py'
_STUDENTS = {
    'student alone': _CONFIGS / 'baselines/resnet18-w8_digits.py',
    'KD': _CONFIGS / 'kd/kd_resnet18-w32_resnet18-w8_digits.py',
    'WSLD': _CONFIGS / 'wsld/wsld_resnet18-w32_resnet18-w8_digits.py',
}


def demonstrate(work_dir: Path, seeds: int, jobs: int, options: tuple[str, ...] = ()) -> list[Row]:
    """Train teachers, then students alone, with KD and with WSLD, and report what comes out.

    A seed fixes one teacher and the initial weights and data order that all its students share. Finished runs
    are not repeated. Writes ``results.json``, ``results.md`` and ``results.png``.

    Args:
        work_dir: folder of all runs and of the report.
        seeds: repetitions, ≥ 1.
        jobs: runs side by side.
        options: settings that replace the configs', for shorter runs.

    Returns:
        One row a method, the teacher's first.
    """
    start = time.perf_counter()
    print(f'Training {seeds} × (1 teacher + {len(_STUDENTS)} students) in {work_dir}, {jobs} at a time.', flush=True)
    teachers = [Run(TEACHER, seed, _TEACHER_CONFIG, work_dir / f'teacher_seed{seed}', options)
                for seed in range(seeds)]
    students = [Run(method, seed, config, work_dir / f'{config.stem}_seed{seed}',
                    (*options, *_teacher_options(config, work_dir / f'teacher_seed{seed}/model_last.pth')))
                for seed in range(seeds) for method, config in _STUDENTS.items()]
    total, done = len(teachers) + len(students), []

    def tell(result: Result) -> None:
        done.append(result)
        print(f'[{len(done):2}/{total}] {time.perf_counter() - start:4.0f} s  {result.method + ",":14} seed '
              f'{result.seed}: {result.last_accuracy:.2f} %', flush=True)

    results = train_all(teachers, jobs, tell)
    results += train_all(students, jobs, tell)
    rows = summarise(results)
    _write_report(work_dir, rows, results)
    return rows


def _teacher_options(config: Path, weights: Path) -> tuple[str, ...]:
    return () if config.parent.name == 'baselines' else (f'model.teacher_ckpt={weights}',)


def _write_report(work_dir: Path, rows: list[Row], results: list[Result]) -> None:
    from .plot import plot_comparison  # matplotlib is not needed to train
    table = f'{markdown_table(rows)}\n\n{machine()}'
    write_atomically(work_dir / 'results.json', (json.dumps(as_json(rows), indent=2) + '\n').encode())
    write_atomically(work_dir / 'results.md', (table + '\n').encode())
    plot_comparison(work_dir / 'results.png', rows, results,
                    'Handwritten digits: a small student of few labelled images', TEACHER)
    print(f'\n{table}\n\nWritten: {work_dir}/results.json, results.md, results.png')
