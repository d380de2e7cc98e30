import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image
from soft_label_pages import Page, findings

from wsld_plugin.analysis.report.images import data_uri
from wsld_plugin.analysis.report.page import page
from wsld_plugin.analysis.report.style import CSS


def image(index):
    return np.full((8, 8), index, np.uint8)


def built(found=None, **overrides):
    given = dict(findings=found or findings(), title='a teacher', verdict='A verdict.', notes=['A note.'],
                 image=image, settings=dict(config='c.py', batch_size=16))
    return page(**{**given, **overrides})


@pytest.mark.parametrize('c', [2, 10, 100, 1000])
def test_a_page_of_any_number_of_classes_is_well_formed(c):
    text = built(findings(n=40, c=c, max_k=min(c, 5)))
    seen = Page(text)
    assert (f'The first 100 of {c:,} rows; all are in report.json.' in seen.text()) == (c > 100)
    assert text.count('<!DOCTYPE html>') == 1
    assert len(text) < 200_000


def test_a_page_asks_for_nothing():
    text = built()
    seen = Page(text)
    for tag in ('script', 'iframe', 'object', 'embed', 'base'):
        assert not seen.all(tag)
    for _, attributes in seen.elements:
        for name in ('src', 'href', 'srcset', 'action', 'xlink:href'):
            assert (attributes.get(name) or 'data:').startswith('data:')
    assert 'url(' not in CSS
    assert '@import' not in CSS
    assert re.findall(r'https?://[^"\']*', text) == ['http://www.w3.org/2000/svg'] * len(seen.all('svg'))
    policy = [each['content'] for each in seen.all('meta') if each.get('http-equiv') == 'Content-Security-Policy']
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]


def test_what_is_shown_is_also_said():
    seen = Page(built())
    assert all(each['alt'] for each in seen.all('img'))
    assert len(seen.all('img')) == 12
    assert all(each['role'] == 'img' and each['aria-label'] for each in seen.all('svg'))
    assert all(each['scope'] == 'col' for each in seen.all('th'))
    assert seen.all('html') == [dict(lang='en')]
    assert [tag for tag, _ in seen.elements if tag in ('h1', 'h2')][:2] == ['h1', 'h2']


def test_a_table_has_its_own_box():
    seen = Page(built())
    boxes = [each for each in seen.all('div') if each.get('class') == 'scroll']
    assert len(boxes) == len(seen.all('table'))
    assert all(each['tabindex'] == '0' and each['role'] == 'region' for each in boxes)


def test_names_are_text_and_never_markup():
    names = ['<b>&"\'', *(f'c{k}' for k in range(9))]
    seen = Page(built(findings(names=names), title='<i>', notes=['<u>'], verdict='Δ < 1 & γ',
                      settings={'config': '<s>'}))
    assert not any(seen.all(tag) for tag in 'bus')
    assert '<b>&"\'' in seen.text()
    assert 'Δ < 1 & γ' in seen.text()


def test_the_numbers_are_those_found():
    found = findings()
    text = Page(built(found)).text()
    assert f'{found.calibration.nll:.4f}' in text
    assert f'{found.calibration.ece:.4f}' in text
    assert f'{found.biased.unreliability[0]:.3f} (' in text
    assert 'A verdict.' in text
    label, wrong, share = found.biased.companions[found.biased.best_k - 1]
    assert (f'class {wrong} is among the {found.biased.best_k} largest for {share:.1%} of the 6 images of class '
            f'{label}.') in text
    right = Page(built(findings(logits=5.0 * torch.eye(10).repeat(6, 1)))).text()
    assert 'No image has a wrong class among its 1 largest.' in right
    assert 'accompanies' not in Page(built(findings(n=101, c=101, max_k=3))).text()


def test_an_image_comes_back_from_its_address():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    for given in (pixels, pixels[..., ::-1], pixels[..., 0]):
        head, _, body = data_uri(given).partition(',')
        assert head == 'data:image/png;base64'
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), given)


def test_a_large_image_is_scaled_down():
    body = data_uri(np.zeros((600, 300, 3), np.uint8)).partition(',')[2]
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (96, 192)


def luminance(colour):
    parts = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055)**2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize('scheme', [0, 1])
def test_text_and_lines_stand_out_in_light_and_dark(scheme):
    colours = dict(re.findall(r'--(\w+): (#\w{6})', re.findall(r':root \{(.*?)\}', CSS, re.S)[scheme]))
    for behind in ('page', 'box'):
        for name in ('ink', 'soft', 'a', 'b', 'c', 'good'):
            light, dark = sorted((luminance(colours[name]), luminance(colours[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, behind)
