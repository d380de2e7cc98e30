"""A study of bias and variance: train what is missing, then measure."""
from __future__ import annotations

from pathlib import Path

from wsld_plugin.errors import RunError
from wsld_plugin.reproduce.missing import check_none_failed, train_missing

from .measure import Finding, measure
from .plan import Plan
from .report import write_findings


def study(plan: Plan, work_dir: Path, jobs: int, train: bool = True) -> list[Finding]:
    """Train what a plan lacks and write what came of it.

    Runs lie in ``<work_dir>/<config>-<options>/seed<part>/``; a finished one is not repeated, an interrupted one goes
    on. The report is written also when runs failed, with the methods whose runs are all there; where there is none,
    a report of before stays as it is.

    Args:
        plan: what is compared.
        work_dir: the folder of all runs.
        jobs: runs side by side, ≥ 1.
        train: False: report on what is finished.

    Raises:
        ConfigError: before anything is trained, for whatever the plan's configs get wrong.
        RunError: when all is over, if runs failed; no method can be reported.
    """
    runs = plan.runs(work_dir)
    errors = train_missing(plan.title, runs.values(), work_dir, jobs) if train else []
    findings, left_out = measure(plan, runs)
    if findings:
        write_findings(plan, work_dir, findings, left_out)
    check_none_failed(errors)
    if not findings:
        hint = '' if train else (' Runs of other options lie in folders of their own: give the options they had, or '
                                 'train without --report-only.')
        raise RunError('\n'.join([f'No method can be reported from {work_dir}, and nothing is written.{hint}',
                                  *left_out]))
    return findings
