"""What a launcher starts in tests: a whole run, half of one, and the rest of it after a resume."""
import os
import sys

from torch import distributed

from wsld_plugin.engine.cli import stop_with_reason
from wsld_plugin.engine.training import train, training_config

RUNS = dict(whole=('whole', False, 2), half=('halves', False, 1), rest=('halves', True, 2))

if __name__ == '__main__':
    config, folder, *names = sys.argv[1:]
    for name in names:
        work_dir, resume, epochs = RUNS[name]
        # the launcher's own meeting place knows the addresses of the run before
        distributed.init_process_group('gloo', init_method=f'file://{folder}/meet_{name}', world_size=2,
                                       rank=int(os.environ['RANK']))
        with stop_with_reason():
            train(training_config(
                config, work_dir=f'{folder}/{work_dir}', launcher='pytorch', resume=resume,
                options={'train_cfg.max_epochs': epochs, 'experiment_name': name}))
