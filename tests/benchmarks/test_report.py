import json
import re

import pytest
import torch

from wsld_plugin.benchmarks.report import as_json, header, markdown
from wsld_plugin.benchmarks.timing import compare

ROWS = compare({'plain': (.010, .020, .010), 'kd (2)': (.015, .030, .015)})


def report(memory=None, **settings):
    head = header(**{**dict(batch_size=64, image_size=32, clock='wall', pairs=3, warmup=1), **settings})
    return as_json(head, ROWS, 64, memory or {})


def cells(text):
    lines = [line for line in text.splitlines() if line.startswith('|')]
    assert len({len(line) for line in lines}) == 1
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def test_the_header_tells_when_on_what_with_which_versions_and_by_which_command():
    head = report()
    assert re.fullmatch(r'\d{4}-\d{2}-\d{2}', head['date'])
    assert head['threads'] == torch.get_num_threads()
    assert torch.__version__ in head['machine']
    assert head['versions'].keys() == {'mmengine', 'mmpretrain', 'mmrazor', 'wsld_plugin'}
    text = markdown(head)
    for value in (head['date'], head['machine'], head['command'], *head['versions'].values()):
        assert value in text
    assert 'Batches of 64 images of 32 × 32 pixels; 3 rounds after 1 to warm up.' in text


def test_the_table_has_milliseconds_images_per_second_and_the_ratio_with_its_quartiles():
    titles, _, plain, kd = cells(markdown(report()))
    assert titles == ['', 'step, ms', 'img/s', 'ratio to the first', 'quartiles']
    assert plain == ['plain', '10.00', '6400', '1.000', '1.000 … 1.000']
    assert kd == ['kd (2)', '15.00', '4267', '1.500', '1.500 … 1.500']


def test_memory_has_a_column_where_it_was_measured_and_is_said_to_lack_where_not():
    with_memory = markdown(report(dict(plain=1_500_000, **{'kd (2)': 2_000_000})))
    assert [row[-1] for row in cells(with_memory)][2:] == ['1.5', '2.0']
    assert 'CUDA devices only' not in with_memory
    assert 'CUDA devices only' in markdown(report())


def test_processor_time_gives_no_images_per_second_and_says_what_it_is():
    text = markdown(report(clock='cpu'))
    assert 'img/s' not in cells(text)[0]
    assert 'processor time' in text


def test_json_holds_every_round():
    found = json.loads(json.dumps(report(dict(plain=7))))
    plain, kd = found['rows']
    assert kd['seconds'] == [.015, .030, .015]
    assert kd['ratio'] == [pytest.approx(1.5)] * 3
    assert kd['items_per_second'] == pytest.approx(64 / .015)
    assert (plain['peak_extra_bytes'], kd['peak_extra_bytes']) == (7, None)
