import multiprocessing
import os
import resource
import time

import pytest
from caches import header, random_cache, random_records

from wsld_plugin.errors import ConfigError
from wsld_plugin.soft_labels import writer as module
from wsld_plugin.soft_labels.header import HEADER, PROGRESS, RECORDS
from wsld_plugin.soft_labels.reader import SoftLabels
from wsld_plugin.soft_labels.writer import writing

FORK = multiprocessing.get_context('fork')
OF = header(num_samples=100)
ALL = random_records(OF)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(module, 'CHUNK', 50)


def write(folder, start=0, stop=300, step=20):
    with writing(folder, OF) as writer:
        for place in range(writer.done, stop, step):
            writer.append(ALL[place:place + step])
        if stop == 300:
            writer.finish()
        return writer.done


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_was_written_is_read(tmp_path):
    write(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted([HEADER, RECORDS])
    assert (SoftLabels(tmp_path).records == ALL).all()


def _write_and_wait(folder, told):
    with writing(folder, OF) as writer:
        for place in range(0, 140, 20):
            writer.append(ALL[place:place + 20])
        told.set()
        time.sleep(60)


def test_a_killed_writer_leaves_no_cache_and_the_next_one_goes_on_where_it_was_safe(tmp_path):
    folder, told = tmp_path / 'cache', FORK.Event()
    process = FORK.Process(target=_write_and_wait, args=(folder, told))
    process.start()
    assert told.wait(60)
    with pytest.raises(ConfigError, match='another process is writing'), writing(folder, OF):
        pass
    process.kill()
    process.join()
    with pytest.raises(ConfigError, match='not complete'):
        SoftLabels(folder)
    with (folder / RECORDS).open('ab') as file:
        file.write(b'half a rec')  # what a crash may leave
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
def test_an_interrupted_writer_keeps_all_that_it_was_given(tmp_path, error):
    with pytest.raises(error):
        _write_and_fail(tmp_path, error)
    assert not (tmp_path / HEADER).exists()
    with writing(tmp_path, OF) as writer:
        assert writer.done == 20


def test_records_that_are_lost_are_written_again(tmp_path):
    write(tmp_path, stop=100)
    os.truncate(tmp_path / RECORDS, 30 * ALL.itemsize)
    with writing(tmp_path, OF) as writer:
        assert writer.done == 30


def test_what_was_begun_for_another_run_is_refused_with_the_field_named(tmp_path):
    write(tmp_path, stop=100)
    before = bytes_of(tmp_path)
    with pytest.raises(ConfigError, match='seed: the cache has 0, this run 1'), \
            writing(tmp_path, header(num_samples=100, seed=1)):
        pass
    assert bytes_of(tmp_path) == before


def test_a_cache_is_not_finished_before_its_last_record(tmp_path):
    with writing(tmp_path, OF) as writer:
        writer.append(ALL[:20])
        writer.save_progress()
        with pytest.raises(AssertionError, match='20 of 300'):
            writer.finish()
    assert not (tmp_path / HEADER).exists()


def test_a_whole_cache_is_not_written_over(tmp_path):
    random_cache(tmp_path)
    with pytest.raises(ConfigError, match='exists and is not overwritten'), writing(tmp_path, header()):
        pass


def _write_on_a_full_disk(folder, told):
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
    try:
        write(folder)
    except ConfigError as error:
        told.put(str(error))


def test_a_full_disk_says_so_and_the_next_call_goes_on(tmp_path):
    folder, told = tmp_path / 'cache', FORK.SimpleQueue()
    process = FORK.Process(target=_write_on_a_full_disk, args=(folder, told))
    process.start()
    process.join()
    assert told.get().startswith(f'{folder}: no room for the soft labels (File too large). Free some space')
    assert sorted(os.listdir(folder)) == sorted([PROGRESS, RECORDS])
    write(folder)
    assert (SoftLabels(folder).records == ALL).all()


def test_too_little_room_is_seen_before_anything_is_computed(tmp_path):
    with pytest.raises(ConfigError, match=r'MB are free, but the soft labels need .* MB\. Fewer views'), \
            writing(tmp_path, header(num_samples=10**12, num_classes=10**6)):
        pass
    assert not (tmp_path / RECORDS).exists()
