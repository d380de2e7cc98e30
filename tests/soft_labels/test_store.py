"""Records against float64, and the files of a cache: read, written, interrupted, damaged."""
import json
import math
import multiprocessing
import os
import resource
import time
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from caches import header, random_cache, random_records, without_checksums
from torch.nn import functional as F

from wsld_plugin.datasets import SampleKey
from wsld_plugin.errors import ConfigError
from wsld_plugin.files import to_json
from wsld_plugin.losses.functional import wsld, wsld_weights
from wsld_plugin.soft_labels import store
from wsld_plugin.soft_labels.store import (
    HEADER,
    PROGRESS,
    RECORDS,
    Header,
    SoftLabels,
    decode,
    encode,
    read_header,
    record_type,
    to_tensors,
    writing,
)

HALF = 2.0**-11  # the relative rounding error of float16


def logits_of(n=6, c=12, scale=5.0, seed=0):
    return scale * torch.randn(n, c, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def served(logits, labels, top_k=None, tau=None):
    fields = to_tensors(encode(logits, labels, top_k, tau), 'cpu')
    return decode(fields, logits.shape[1], tau).double(), fields['teacher_ce'].double()


def oracle(logits, top_k, tau):
    """Row by row: the tempered probabilities of the largest, and the rest of the mass in equal parts."""
    rows = []
    for row in logits.tolist():
        powers = [math.exp((value - max(row)) / tau) for value in row]
        total = math.fsum(powers)
        largest = sorted(range(len(row)), key=row.__getitem__)[-top_k:]
        rest = math.fsum(power for k, power in enumerate(powers) if k not in largest) / (len(row) - top_k)
        rows.append([(powers[k] if k in largest else rest) / total for k in range(len(row))])
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize('scale', [0.1, 300.0])
def test_all_logits_come_back_up_to_the_rounding_of_their_log_probability(scale):
    logits = logits_of(scale=scale)
    back, _ = served(logits, torch.zeros(6, dtype=torch.long))
    allowed = HALF * logits.log_softmax(1).abs() + 1e-6 * logits.abs().amax(1, keepdim=True) + 1e-7
    assert ((back - logits).abs() <= allowed).all()


@pytest.mark.parametrize(('top_k', 'tau'), [(1, 1.0), (3, 4.0), (11, 20.0)])
def test_truncated_logits_give_the_kept_probabilities_and_spread_the_rest_evenly(top_k, tau):
    logits = logits_of()
    back, _ = served(logits, torch.zeros(6, dtype=torch.long), top_k, tau)
    expected = oracle(logits, top_k, tau)
    torch.testing.assert_close((back / tau).softmax(1), expected, rtol=2 * HALF * 30, atol=1e-7)
    tail = expected.topk(12 - top_k, largest=False)[0].sum(1)
    got = (back / tau).softmax(1).topk(12 - top_k, largest=False)[0]
    torch.testing.assert_close(got.sum(1), tail, rtol=0.01, atol=0)
    torch.testing.assert_close(got, got.mean(1, keepdim=True).expand_as(got), rtol=1e-5, atol=0)


def test_a_tail_of_a_billionth_keeps_its_mass():
    logits = torch.tensor([[25., 24., 0., 1., 2., 3.]], dtype=torch.float64)
    back, _ = served(logits, torch.tensor([0]), 2, 1.0)
    tail = logits.softmax(1)[0, 2:].sum()
    assert tail < 1e-9
    assert back.softmax(1)[0, 2:].sum().item() == pytest.approx(tail.item(), rel=1e-3)


@pytest.mark.parametrize('top_k', [None, 3])
def test_the_cross_entropy_is_exact_also_where_the_label_is_not_kept(top_k):
    logits = logits_of(n=12)
    labels = torch.arange(12)
    _, ce = served(logits, labels, top_k, 2.0)
    torch.testing.assert_close(ce, F.cross_entropy(logits, labels, reduction='none'), rtol=1e-7, atol=0)
    _, certain = served(torch.tensor([[200., 0., 0.]]), torch.tensor([0]))
    assert (certain.item(), math.copysign(1, certain.item())) == (0, 1)


def test_wsld_of_a_truncated_cache_has_the_weights_of_the_complete_teacher():
    tau = 4.0
    teacher, student = logits_of(n=12), logits_of(n=12, seed=1)
    labels = torch.arange(12)
    back, ce = served(teacher, labels, 3, tau)
    weights = wsld_weights(student, teacher, labels)
    soft_ce = -(oracle(teacher, 3, tau) * (student / tau).log_softmax(1)).sum(1)
    got = wsld(student, back, labels, tau, reduction='none', teacher_ce=ce)
    torch.testing.assert_close(got, tau**2 * weights * soft_ce, rtol=5e-3, atol=1e-6)
    torch.testing.assert_close(got / (tau**2 * -((back / tau).softmax(1) * (student / tau).log_softmax(1)).sum(1)),
                               weights, rtol=1e-6, atol=0)
    without = wsld(student, back, labels, tau, reduction='none')
    assert ((without - got).abs() > 0.1 * got).any(), 'the truncated logits alone would have given the weights'


def test_a_log_probability_beyond_float16_becomes_its_smallest_number():
    back, _ = served(torch.tensor([[1e6, 0.]]), torch.tensor([0]))
    assert back.isfinite().all()
    assert (back[0, 0] - back[0, 1]).item() == 65504


@pytest.mark.parametrize(('classes', 'width'), [(256, 1), (257, 2), (65536, 2), (65537, 4)])
def test_an_index_is_as_wide_as_the_classes_need(classes, width):
    kind = record_type(classes, 5)
    assert kind.itemsize == 5 * (2 + width) + 12
    assert record_type(classes).itemsize == 2 * classes + 8
    assert np.iinfo(kind['classes'].base).max >= classes - 1


@pytest.mark.parametrize(('value', 'label', 'message'), [
    (math.nan, 0, 'not finite'), (-math.inf, 0, 'not finite'), (0., -1, 'has class -1'), (0., 2, 'has class 2')])
def test_logits_that_are_not_finite_and_labels_that_are_no_class_are_refused(value, label, message):
    with pytest.raises(ValueError, match=message):
        encode(torch.tensor([[0., value]]), torch.tensor([label]))


# Header

OTHER = dict(num_samples=6, num_classes=8, views=4, seed=1, class_map=(1, 0), tau=2.0, top_k=2, format=2)


@pytest.mark.parametrize('name', [field.name for field in fields(Header)])
def test_a_field_that_differs_is_named_with_both_values_and_what_to_do(name):
    needed = asdict(header())
    header().check(needed, Path('cache'))
    needed[name] = OTHER.get(name, 'other')
    with pytest.raises(ConfigError, match=rf'(?s)cache.*\n  {name}: the cache has .*, this run .*\. \w.*\.$'):
        header().check(needed, Path('cache'))
    with pytest.raises(ConfigError, match=r'(?s)views: the cache has 3, this run 9.*seed: the cache has 0, .*5'):
        header().check(dict(seed=5, views=9), Path('cache'))  # fields that are missing are not compared


def test_a_written_header_is_read_again(tmp_path):
    of = header(class_map=(3, 1, 0, 2, 4, 5, 6), tau=2.0, top_k=3)
    of.write(tmp_path / HEADER, sha256='x')
    assert read_header(tmp_path) == (of, dict(sha256='x'))


def test_a_missing_cache_names_the_nearest_folder(tmp_path):
    random_cache(tmp_path / 'resnet34')
    with pytest.raises(ConfigError, match=r"Did you mean 'resnet34'\?.*cache_soft_labels\.py"):
        read_header(tmp_path / 'resnet43')


@pytest.mark.parametrize(('name', 'text', 'message'), [
    (PROGRESS, to_json({**asdict(header()), 'done': 3}), r'not complete\. Run .*cache_soft_labels\.py CONFIG` again'),
    (HEADER, json.dumps({**asdict(header()), 'format': 7}), 'format=7, expected 1'),
    *((HEADER, text, r'header\.json is damaged') for text in (
        '', '[]', '[' * 100_000, '{"format": 1}', json.dumps({**asdict(header()), 'views': 0}),
        json.dumps({**asdict(header()), 'num_samples': '5'})))])
def test_an_incomplete_damaged_or_other_header_is_refused(tmp_path, name, text, message):
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError, match=message):
        read_header(tmp_path)


# Reader

@pytest.mark.parametrize('kept', [{}, dict(top_k=2, tau=4.0)])
def test_a_key_gets_the_record_of_its_view_and_index(tmp_path, kept):
    labels, expected = random_cache(tmp_path, **kept), random_records(header(**kept)).reshape(3, 5)
    keys = [SampleKey(0, 2, 1), SampleKey(0, 0, 4), SampleKey(0, 2, 1)]
    assert (labels.rows(keys) == expected[[2, 0, 2], [1, 4, 1]]).all()


def test_rows_are_copies_and_the_file_is_mapped_read_only(tmp_path):
    labels = random_cache(tmp_path)
    assert isinstance(labels.records.base, np.memmap)
    rows = labels.rows([SampleKey(0, 0, 0)])
    rows['lse'] = 99
    assert (labels.rows([SampleKey(0, 0, 0)])['lse'] != 99).all()
    with pytest.raises(ValueError, match='read-only'):
        labels.records['lse'] = 99


@pytest.mark.parametrize(('key', 'words'), [
    (SampleKey(1, 0, 0), r'seed=1, expected 0 … 0'), (SampleKey(0, 3, 0), r'epoch=3, expected 0 … 2.*views=3'),
    (SampleKey(0, 0, 5), r'index=5, expected 0 … 4'), (SampleKey(0, 0, -1), 'index=-1'),
    (SampleKey(0, 0, 0, 1), 'repeat=1')])
def test_a_sample_that_the_cache_does_not_have_is_refused(tmp_path, key, words):
    with pytest.raises(ValueError, match=words):
        random_cache(tmp_path).rows([SampleKey(0, 0, 0), key])


@pytest.mark.parametrize('change', [lambda data: data[:-1], lambda data: data + b'x', None])
def test_a_file_of_another_length_is_refused(tmp_path, change):
    path = random_cache(tmp_path).folder / RECORDS
    data = path.read_bytes()
    path.unlink()
    if change:
        path.write_bytes(change(data))
    with pytest.raises(ConfigError, match=r'records\.bin is damaged: \d+ bytes, expected 330'):
        SoftLabels(tmp_path)


@pytest.mark.parametrize('kept', [{}, dict(top_k=2, tau=4.0)])
def test_one_flipped_bit_is_found_when_its_record_is_read(tmp_path, kept):
    of = header(num_samples=20_000, **kept)
    path = random_cache(tmp_path, num_samples=20_000, **kept).folder / RECORDS
    content, size = bytearray(path.read_bytes()), record_type(of.num_classes, of.top_k).itemsize
    content[45_000 * size + 3] ^= 4
    path.write_bytes(content)
    labels = SoftLabels(tmp_path)
    assert len(labels.rows([SampleKey(0, 0, 0), SampleKey(0, 1, 19_999)])) == 2
    for _ in range(2):
        with pytest.raises(ConfigError, match=r'records\.bin is damaged: rows \d+ to \d+ .*Remove the folder'):
            labels.rows([SampleKey(0, 0, 0), SampleKey(0, 2, 5_000)])
    without_checksums(tmp_path)
    assert len(SoftLabels(tmp_path).rows([SampleKey(0, 2, 5_000)])) == 1


# Writer

FORK = multiprocessing.get_context('fork')
OF = header(num_samples=100)
ALL = random_records(OF)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(store, 'CHUNK', 50)


def write(folder, start=0, stop=300, step=20):
    with writing(folder, OF) as writer:
        for place in range(writer.done, stop, step):
            writer.append(ALL[place:place + step])
        if stop == 300:
            writer.finish()
        return writer.done


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_written_records_are_read(tmp_path):
    write(tmp_path)
    assert {path.name for path in tmp_path.glob('[!.]*')} == {HEADER, RECORDS}
    assert (SoftLabels(tmp_path).records == ALL).all()


def _write_and_wait(folder, started):
    with writing(folder, OF) as writer:
        for place in range(0, 140, 20):
            writer.append(ALL[place:place + 20])
        started.set()
        time.sleep(60)


def test_a_killed_writer_leaves_no_cache_and_the_next_one_continues_from_the_disk(tmp_path):
    folder, started = tmp_path / 'cache', FORK.Event()
    process = FORK.Process(target=_write_and_wait, args=(folder, started))
    process.start()
    assert started.wait(60)
    with pytest.raises(ConfigError, match='another process is writing'), writing(folder, OF):
        pass
    process.kill()
    process.join()
    with pytest.raises(ConfigError, match='not complete'):
        SoftLabels(folder)
    with (folder / RECORDS).open('ab') as file:
        file.write(b'half a rec')  # a crash may leave this
    with writing(folder, OF) as writer:
        assert writer.done == 120
        for place in range(120, 300, 20):
            writer.append(ALL[place:place + 20])
        writer.finish()
    write(tmp_path / 'whole')
    assert bytes_of(folder) == bytes_of(tmp_path / 'whole')


def _write_and_fail(folder, error):
    with writing(folder, OF) as writer:
        writer.append(ALL[:20])
        raise error


@pytest.mark.parametrize('error', [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_writer_keeps_all_records(tmp_path, error):
    with pytest.raises(error):
        _write_and_fail(tmp_path, error)
    assert not (tmp_path / HEADER).exists()
    with writing(tmp_path, OF) as writer:
        assert writer.done == 20


def test_lost_records_are_written_again(tmp_path):
    write(tmp_path, stop=100)
    os.truncate(tmp_path / RECORDS, 30 * ALL.itemsize)
    with writing(tmp_path, OF) as writer:
        assert writer.done == 30


def test_an_interrupted_cache_of_another_run_is_refused_with_the_field_named(tmp_path):
    write(tmp_path, stop=100)
    before = bytes_of(tmp_path)
    with pytest.raises(ConfigError, match='seed: the cache has 0, this run 1'), \
            writing(tmp_path, header(num_samples=100, seed=1)):
        pass
    assert bytes_of(tmp_path) == before


def test_an_incomplete_cache_cannot_be_finished(tmp_path):
    with writing(tmp_path, OF) as writer:
        writer.append(ALL[:20])
        writer.save_progress()
        with pytest.raises(AssertionError, match='20 of 300'):
            writer.finish()
    assert not (tmp_path / HEADER).exists()


def test_a_complete_cache_is_not_overwritten(tmp_path):
    random_cache(tmp_path)
    with pytest.raises(ConfigError, match='exists and is not overwritten'), writing(tmp_path, header()):
        pass


def _write_on_a_full_disk(folder, message):
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    try:
        write(folder)
    except ConfigError as error:
        message.put(str(error))


def test_a_full_disk_is_reported_and_the_next_call_continues(tmp_path):
    folder, message = tmp_path / 'cache', FORK.SimpleQueue()
    process = FORK.Process(target=_write_on_a_full_disk, args=(folder, message))
    process.start()
    process.join()
    assert message.get().startswith(f'{folder}: no space left for the soft labels (File too large). Free some space')
    assert {path.name for path in folder.glob('[!.]*')} == {PROGRESS, RECORDS}
    write(folder)
    assert (SoftLabels(folder).records == ALL).all()


def test_too_little_space_is_found_before_the_first_record(tmp_path):
    with pytest.raises(ConfigError, match=r'MB are free, but the soft labels need .* MB\. Fewer views'), \
            writing(tmp_path, header(num_samples=10**12, num_classes=10**6)):
        pass
    assert not (tmp_path / RECORDS).exists()
