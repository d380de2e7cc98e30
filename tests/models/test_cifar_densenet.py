import torch
from plain_network import PlainNetwork, assert_same, images
from torch.nn import functional as F

from wsld_plugin.models import CifarDenseNet


def test_the_network_equals_plain_operations():
    network = CifarDenseNet(121)
    state = network.state_dict()
    # mmpretrain keeps the blocks and the transitions in two lists: put their weights in the order of use
    ordered = [name for part in ['stem', *(f'{part}.{i}' for i in range(4) for part in ('stages', 'transitions'))]
               for name in state if name.startswith(part) and 'num_batches' not in name]
    plain = PlainNetwork(network)
    assert len(ordered) == len(plain.left)
    plain.left = [network.state_dict()[name] for name in ordered]

    x = plain.conv(images(8))
    for stage, layers in enumerate((6, 12, 24, 16)):
        for _ in range(layers):
            y = plain.conv(F.relu(plain.norm(x)))
            assert y.shape[1] == 4 * 32
            x = torch.cat([x, plain.conv(F.relu(plain.norm(y)))], 1)
        if stage < 3:
            x = plain.conv(plain.norm(x))  # no ReLU between the two
            x = x.unflatten(3, (-1, 2)).mean(4).unflatten(2, (-1, 2)).mean(3)
    assert_same(network(images(8))[0], F.relu(plain.norm(x)), plain)
