"""A study of bias and variance: train what is missing, then measure."""
from __future__ import annotations

from pathlib import Path

from wsld_plugin.errors import RunError
from wsld_plugin.reproduce.pool import train_all, with_needs
from wsld_plugin.reproduce.progress import Progress
from wsld_plugin.reproduce.runs import finished

from .measure import Finding, measure
from .plan import Plan
from .report import write_findings


def study(plan: Plan, work_dir: Path, jobs: int, train: bool = True) -> list[Finding]:
    """Train what a plan lacks and write what came of it.

    Runs lie in ``<work_dir>/<config>-<options>/seed<part>/``; a finished one is not repeated, an interrupted one goes
    on. The report is written also when runs failed, with the methods whose runs are all there.

    Args:
        plan: what is compared.
        work_dir: the folder of all runs.
        jobs: runs side by side, ≥ 1.
        train: False: report on what is finished.

    Raises:
        ConfigError: before anything is trained, for whatever the plan's configs get wrong.
        RunError: when all is over, if runs failed.
    """
    runs = plan.runs(work_dir)
    # part by part, so that what is finished early is a whole study of few models
    wanted = list(dict.fromkeys(run for of_part in zip(*runs.values(), strict=True) for run in of_part))
    missing = [run for run in wanted if not finished(run)]
    errors = []
    if missing and train:
        progress = Progress(len(with_needs(missing)))
        print(f'{plan.title}\n{len(wanted) - len(missing)} of {len(wanted)} runs are there; training the others and '
              f'what they need in {work_dir}, {jobs} at a time.', flush=True)
        outcomes = train_all(missing, jobs, progress.ended, progress.waiting)
        errors = [str(outcome) for outcome in outcomes.values() if isinstance(outcome, Exception)]
    findings, left_out = measure(plan, runs)
    write_findings(plan, work_dir, findings, left_out)
    if errors:
        raise RunError(f'{len(errors)} runs failed:\n' + '\n'.join(errors))
    return findings
