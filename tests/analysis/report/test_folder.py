import json

import pytest

from wsld_plugin.analysis.report.folder import check_folder
from wsld_plugin.errors import ConfigError

REPORT = json.dumps(dict(title='', verdict='', notes=[], settings={}, k=[]))


def files(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_a_new_folder_an_empty_one_one_with_other_files_and_an_earlier_report_are_taken(tmp_path):
    check_folder(tmp_path / 'new' / 'one')
    assert files(tmp_path) == {}
    (tmp_path / 'mine.txt').write_text('mine')
    check_folder(tmp_path)
    (tmp_path / 'report.json').write_text(REPORT)
    check_folder(tmp_path)
    (tmp_path / 'index.html').write_text('a page')
    check_folder(tmp_path)
    assert files(tmp_path) == {'mine.txt': 'mine', 'report.json': REPORT, 'index.html': 'a page'}


@pytest.mark.parametrize('numbers', [None, '{"mine": 1}', '[]', 'broken {', '\xff'])
def test_a_page_without_a_report_of_ours_is_not_replaced(tmp_path, numbers):
    (tmp_path / 'index.html').write_text('mine')
    if numbers is not None:
        (tmp_path / 'report.json').write_text(numbers, encoding='latin-1')
    with pytest.raises(ConfigError, match=r'holds index\.html.* nothing is replaced.*another folder as --out'):
        check_folder(tmp_path)
    assert (tmp_path / 'index.html').read_text() == 'mine'


def test_numbers_alone_that_are_not_ours_and_a_folder_of_the_pages_name_are_not_replaced(tmp_path):
    (tmp_path / 'report.json').write_text('{"coverage": 97}')
    with pytest.raises(ConfigError, match=r'holds report\.json, and no report'):
        check_folder(tmp_path)
    (tmp_path / 'report.json').write_text(REPORT)
    (tmp_path / 'index.html').mkdir()
    with pytest.raises(ConfigError, match='nothing is replaced'):
        check_folder(tmp_path)
