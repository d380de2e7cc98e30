import json
from dataclasses import asdict, fields
from pathlib import Path

import pytest
from caches import header, random_cache

from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels.header import HEADER, PROGRESS, Header, read_header

OTHER = dict(num_samples=6, num_classes=8, views=4, seed=1, class_map=(1, 0), tau=2.0, top_k=2, format=2)


@pytest.mark.parametrize('name', [field.name for field in fields(Header)])
def test_every_field_that_differs_is_named_with_both_values_and_a_way_on(name):
    needed = asdict(header())
    header().check(needed, Path('cache'))
    needed[name] = OTHER.get(name, 'other')
    with pytest.raises(ConfigError, match=rf'(?s)cache.*\n  {name}: the cache has .*, this run .*\. \w.*\.$'):
        header().check(needed, Path('cache'))


def test_all_that_differs_is_told_and_what_is_not_known_is_not_looked_at():
    both = r'(?s)views: the cache has 3, this run 9.*seed: the cache has 0, this run 5'
    with pytest.raises(ConfigError, match=both):
        header().check(dict(seed=5, views=9), Path('cache'))
    header().check({}, Path('cache'))


def test_what_is_written_is_read_again(tmp_path):
    of = header(class_map=(3, 1, 0, 2, 4, 5, 6), tau=2.0, top_k=3)
    (tmp_path / HEADER).write_bytes(of.to_json(sha256='x'))
    assert read_header(tmp_path) == (of, dict(sha256='x'))


def test_the_folder_that_was_meant_is_guessed(tmp_path):
    random_cache(tmp_path / 'resnet34')
    with pytest.raises(ConfigError, match=r"Did you mean 'resnet34'\?.*cache_soft_labels\.py"):
        read_header(tmp_path / 'resnet43')


def test_a_cache_that_is_not_complete_says_how_it_goes_on(tmp_path):
    (tmp_path / PROGRESS).write_bytes(header().to_json(done=3))
    with pytest.raises(ConfigError, match=r'not complete\. The same command goes on'):
        read_header(tmp_path)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(format=7), 'format=7, expected 1'), (dict(views=0), 'damaged'), (dict(num_samples='5'), 'damaged')])
def test_a_header_of_another_kind_is_refused(tmp_path, change, message):
    (tmp_path / HEADER).write_text(json.dumps({**asdict(header()), **change}))
    with pytest.raises(ConfigError, match=message):
        read_header(tmp_path)


@pytest.mark.parametrize('text', ['', '[]', '{"format": 1}', '{"format'])
def test_a_damaged_header_is_refused(tmp_path, text):
    (tmp_path / HEADER).write_text(text)
    with pytest.raises(ConfigError, match=r'header\.json is damaged'):
        read_header(tmp_path)
