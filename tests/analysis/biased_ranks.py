"""Every rank takes in its part of the samples and writes the sums that they have together."""
import sys
from pathlib import Path

import torch
from torch import distributed

from wsld_plugin.analysis.biased import BiasedLabelStatistics


def main(folder):
    """Half of the samples on each rank, in turn."""
    distributed.init_process_group('gloo')
    rank = distributed.get_rank()
    samples = torch.load(folder / 'samples.pt', weights_only=True)
    statistics = BiasedLabelStatistics(samples['logits'].shape[1], bootstrap=5)
    mine = slice(rank, None, distributed.get_world_size())
    statistics.update(samples['logits'][mine], samples['target'][mine], range(len(samples['target']))[mine])
    torch.save(statistics.reduce().sums, folder / f'{rank}.pt')
    distributed.destroy_process_group()


if __name__ == '__main__':
    main(Path(sys.argv[1]))
