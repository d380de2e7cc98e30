"""What ``tools/soft_labels_report.py`` does."""
from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import mmengine
import mmpretrain

from wsld_plugin.analysis.biased import check_max_k
from wsld_plugin.files import write_atomically
from wsld_plugin.studies.runs import machine
from wsld_plugin.version import __version__

from .device import find_device
from .findings import Findings, as_json, measure
from .folder import NUMBERS, PAGE, check_folder
from .page import page
from .subject import find_subject
from .verdict import notes, verdict


def soft_labels_report(config: str, checkpoint: str | None = None, *, out: str | None = None, split: str = 'test',
                       device: str | None = None, max_samples: int | None = None, max_k: int | None = None,
                       options: Mapping[str, Any] | None = None) -> tuple[Path, Findings, str, list[str]]:
    """Measure the soft labels of a config's teacher and write ``index.html`` and ``report.json``.

    Args:
        config, checkpoint, split, max_samples, options: see
            :func:`wsld_plugin.analysis.report.subject.find_subject`.
        out: folder of the report; default: ``work_dirs/<name of the config>/soft_labels_<split>``. An earlier report
            in it is replaced.
        device: where the teacher runs; default: the best there is.
        max_k: the largest k; None: the number of classes, but at most 100.

    Returns:
        The folder, the numbers, the sentence that says what they predict, and what else a reader should know.

    Raises:
        ConfigError, CheckpointError, FileNotFoundError: before the images are looked at. RunError: samples or soft
            labels that cannot be measured.
    """
    folder = Path(out) if out else Path('work_dirs') / Path(config).stem / f'soft_labels_{split}'
    check_folder(folder)
    device = find_device(device)
    subject = find_subject(config, checkpoint, split=split, device=device, max_samples=max_samples, options=options)
    check_max_k(max_k, len(subject.classes))
    findings = measure(subject.batches(), subject.classes, len(subject.keys), max_k)
    sentence = verdict(findings, subject.made_from_labels)
    said = [*notes(findings, subject.made_from_labels), *subject.notes]
    settings = {**subject.about, **(dict(options=json.dumps(dict(options), default=str)) if options else {}),
                'largest_k': len(findings.biased.margin), **_made_with()}
    title = f'{subject.teacher}, {Path(config).stem}'
    report = dict(title=title, verdict=sentence, notes=said, settings=settings, **as_json(findings))
    write_atomically(folder / NUMBERS, (json.dumps(report, indent=1, allow_nan=False) + '\n').encode())
    write_atomically(folder / PAGE, page(findings, title, sentence, said, subject.image, settings).encode())
    return folder, findings, sentence, said


def _made_with() -> dict[str, str]:
    return dict(machine=machine(), versions=f'wsld_plugin {__version__}, mmengine {mmengine.__version__}, mmpretrain '
                f'{mmpretrain.__version__}', date=datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M UTC'))
