"""A stand-in for tools/train.py, and results that nothing was trained for."""
from pathlib import Path

from wsld_plugin.studies.runs import Result, Run

TRAIN = '''
import json, pathlib, sys, time
config, work_dir = sys.argv[1], pathlib.Path(sys.argv[sys.argv.index('--work-dir') + 1])
(work_dir / 'calls').open('a').write(' '.join(sys.argv[1:]) + '\\n')
print('the reason')
if 'fails' in config:
    sys.exit(3)
if 'slow' in config:
    time.sleep(30)
logs = work_dir / 'time/vis_data'
logs.mkdir(parents=True, exist_ok=True)
with (logs / 'scalars.json').open('w') as file:
    for line in (dict(loss=1.0, step=1, epoch=1, iter=1, time=.1), {'accuracy/top1': 50.0, 'step': 1},
                 dict(loss=1.0, step=2, epoch=2, iter=2, time=.1),
                 {'accuracy/top1': 70.0, 'step': 2}, {'accuracy/top1': 60.0, 'step': 3}):
        file.write(json.dumps(line) + '\\n')
'''


def run(folder: Path, config: str = 'c.py', seed: int = 7, **more) -> Run:
    """A run of the stand-in."""
    return Run(Path(config), seed, folder, **more)


def calls(of: Run) -> list[str]:
    """The command lines that the stand-in was called with."""
    path = of.work_dir / 'calls'
    return path.read_text().splitlines() if path.is_file() else []


def result(accuracy: float, seed: int = 0, seconds: float = 10.0) -> Result:
    """A result whose best epoch is one point above its last."""
    return Result(seed, accuracy, accuracy + 1, seconds, 'a machine', [(1, accuracy / 2), (2, accuracy)])
