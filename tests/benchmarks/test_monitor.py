from pathlib import Path

import pytest

from wsld_plugin.benchmarks.monitor import InBlocks, block_means, is_with, monitor_markdown, time_monitor

KD = str(Path(__file__).parents[2] / 'configs/kd/kd_resnet18-w32_resnet18-w8_digits.py')


def test_both_kinds_of_blocks_are_as_many_and_as_early_in_every_four():
    for start in (0, 4, 8):
        blocks = [number for number in range(start, start + 4) if is_with(number)]
        assert len(blocks) == 2
        assert sum(blocks) == sum(range(start, start + 4)) / 2


def test_blocks_are_told_apart_and_loading_does_not_count():
    parts = [(10.0 + number, 1.0 + number, 5.0) for number in range(16)]  # 9 s each without loading
    parts[8] = (13.0, 0.0, 5.0)  # of the fifth block of two, one with the monitor
    means = block_means(parts, block=2, warmup=1)
    assert means == {'without': [9.0, 9.0, 9.0], 'with the monitor': [9.0, 11.0, 9.0]}


def test_a_run_is_looked_at_in_its_blocks_alone(monkeypatch):
    looked = []
    monkeypatch.setattr(InBlocks, '_keep', lambda self, data_batch, epoch, replayed: looked.append(self._iteration))
    is_turn = InBlocks.is_turn

    def spying(self, runner):
        self._iteration = runner.iter
        return is_turn(self, runner)
    monkeypatch.setattr(InBlocks, 'is_turn', spying)
    report = time_monitor(KD, pairs=2, warmup=1, block=3, options={'model.teacher_ckpt': False})
    assert looked == [0, 1, 2, 9, 10, 11, 12, 13, 14]
    assert [row['name'] for row in report['rows']] == ['without', 'with the monitor']
    assert all(len(row['seconds']) == 2 and min(row['seconds']) > 0 for row in report['rows'])
    assert report['rows'][0]['ratio'] == pytest.approx((1.0, 1.0, 1.0))
    text = monitor_markdown(report)
    assert '2 pairs of blocks of 3 iterations in one run, after 1 pairs to warm up.' in text
    assert '| with the monitor ' in text
