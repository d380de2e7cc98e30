import json
import re

import numpy as np
import pytest
import torch
from caches import teacher_file
from factories import digits_classifier, run_cfg
from soft_label_pages import Page, findings

from wsld_plugin.errors import ConfigError, RunError
from wsld_plugin.studies.teacher_report.page import check_folder, page, soft_labels_report

REPORT = json.dumps(dict(title='', verdict='', notes=[], settings={}, k=[]))


def built(found=None, **overrides):
    given = dict(findings=found or findings(), title='a teacher', verdict='A verdict.', notes=['A note.'],
                 image=lambda index: np.full((8, 8), index, np.uint8), settings=dict(config='c.py'))
    return page(**{**given, **overrides})


def test_a_page_requests_nothing_its_pictures_have_alternative_text_and_names_are_never_markup():
    names = ['<b>&"\'', *(f'c{k}' for k in range(9))]
    text = built(findings(names=names), title='<i>', notes=['<u>'], verdict='Δ < 1 & γ', settings={'config': '<s>'})
    seen = Page(text)
    for tag in ('script', 'iframe', 'object', 'embed', 'base', *'bus'):
        assert not seen.all(tag)
    assert all(name in seen.text() for name in ('<b>&"\'', '<i>', '<u>', 'Δ < 1 & γ', '<s>'))
    for _, attributes in seen.elements:
        for name in ('src', 'href', 'srcset', 'action', 'xlink:href'):
            assert (attributes.get(name) or 'data:').startswith(('data:', '#'))
    assert set(re.findall(r'https?://[^"\']*', text)) == {'http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink'}
    assert 'url(' not in text.replace('url(#', '')
    assert all(each['alt'] for each in seen.all('img'))
    assert len(seen.all('img')) == 12
    assert all(each['role'] == 'img' and each['aria-label'] for each in seen.all('svg'))
    assert [tag for tag, _ in seen.elements if tag in ('h1', 'h2')][:2] == ['h1', 'h2']


def test_the_numbers_are_those_found_for_any_number_of_classes():
    for c in (2, 1000):
        text = built(findings(n=40, c=c, max_k=min(c, 5)))
        assert (f'The first 100 of {c:,} rows; all are in report.json.' in Page(text).text()) == (c > 100)
        assert text.count('<!DOCTYPE html>') == 1
        assert len(text) < 200_000
    found = findings()
    text = Page(built(found)).text()
    label, wrong, share = found.biased.companions[found.biased.best_k - 1]
    for number in (f'{found.calibration.nll:.4f}', f'{found.calibration.ece:.4f}', 'A verdict.',
                   f'{found.biased.unreliability[0]:.3f} (', f'class {wrong} is among the {found.biased.best_k} '
                   f'largest for {share:.1%} of the 6 images of class {label}.'):
        assert number in text
    right = Page(built(findings(logits=5.0 * torch.eye(10).repeat(6, 1)))).text()
    assert 'No image has a wrong class among its 1 largest.' in right
    assert 'accompanies' not in Page(built(findings(n=101, c=101, max_k=3))).text()


def test_page_and_numbers_agree_a_report_is_overwritten_and_nothing_is_written_if_something_is_wrong(tmp_path):
    config, weights, new = str(tmp_path / 'digits.py'), teacher_file(tmp_path / 'teacher.pth'), str(tmp_path / 'new')
    run_cfg(tmp_path / 'run', digits_classifier(8)).dump(config)
    arguments = dict(out=str(tmp_path / 'out'), device='cpu')
    soft_labels_report(config, str(weights), **arguments, max_samples=12)
    folder, findings, sentence, notes = soft_labels_report(config, str(weights), **arguments)
    report = json.loads((folder / 'report.json').read_text())
    seen = Page((folder / 'index.html').read_text())
    assert (report['verdict'], report['accuracy']) == (sentence, findings.calibration.accuracy)
    assert all(each in seen.text() for each in (sentence, *notes))
    assert report['settings']['config'] == config
    assert set(report['settings']) >= {'checkpoint', 'split', 'machine', 'versions', 'date', 'largest_k', 'device'}
    assert sorted(path.name for path in folder.iterdir()) == ['index.html', 'report.json']
    assert (report['num_samples'], len(report['k'])) == (20, 10)

    with pytest.raises(ConfigError, match='max_k=11'):
        soft_labels_report(config, str(weights), out=new, max_k=11, device='cpu')
    state = torch.load(weights)
    state['head.fc.weight'][3] = 3e38  # finite, and no logit of it is
    torch.save(state, weights)
    with pytest.raises(RunError, match='20 of 20 samples have no usable logits'):
        soft_labels_report(config, str(weights), out=new, device='cpu')
    with pytest.raises(ConfigError, match='is a file'):
        soft_labels_report('missing.py', out=str(weights))
    with pytest.raises(ConfigError, match="device='cudaa'"):
        soft_labels_report('missing.py', out=new, device='cudaa')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['digits.py', 'out', 'teacher.pth']


def test_an_earlier_report_and_other_files_are_accepted_and_a_page_without_a_report_is_not_overwritten(tmp_path):
    check_folder(tmp_path / 'new' / 'one')
    for name, content in (('mine.txt', 'mine'), ('report.json', REPORT), ('index.html', 'a page')):
        (tmp_path / name).write_text(content)
        check_folder(tmp_path)
        assert (tmp_path / name).read_text() == content
    assert len(list(tmp_path.iterdir())) == 3
    for numbers in ('{"mine": 1}', '3', '\xff', None):
        if numbers is None:
            (tmp_path / 'report.json').unlink()
        else:
            (tmp_path / 'report.json').write_text(numbers, encoding='latin-1')
        with pytest.raises(ConfigError, match=r'holds index\.html.* nothing is overwritten.*another folder as --out'):
            check_folder(tmp_path)
    (tmp_path / 'index.html').unlink()
    (tmp_path / 'index.html').mkdir()
    (tmp_path / 'report.json').write_text(REPORT)
    with pytest.raises(ConfigError, match='nothing is overwritten'):
        check_folder(tmp_path)
