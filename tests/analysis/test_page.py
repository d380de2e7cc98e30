import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from soft_label_pages import Page

from wsld_plugin.analysis.page import COLOURS, CSS, data_uri, document, figure, section, table


def test_a_table_has_its_own_box_and_is_cut_with_a_line_that_says_so():
    text = table(('a', 'b'), [[k, f'<{k}>'] for k in range(1234)], 'numbers', words=(1, ))
    seen = Page(text)
    assert len(seen.all('tr')) == 101
    assert 'The first 100 of 1,234 rows; all are in report.json.' in seen.text()
    assert '<99>' in seen.text()
    assert seen.all('div') == [{'class': 'scroll', 'role': 'region', 'aria-label': 'numbers', 'tabindex': '0'}]
    assert all(each['scope'] == 'col' for each in seen.all('th'))
    assert 'rows' not in Page(table(('a', ), [[1]], 'one')).text()


def test_a_page_requests_nothing_and_text_is_never_markup():
    seen = Page(document('<i>', 'Δ < 1 & γ', ['<u>'], section('<b>', figure('', '<em>caption</em>', 'details'))))
    assert not any(seen.all(tag) for tag in 'bui')
    assert seen.all('em')
    assert all(text in seen.text() for text in ('<i>', 'Δ < 1 & γ', '<u>', '<b>'))
    policy = [each['content'] for each in seen.all('meta') if each.get('http-equiv') == 'Content-Security-Policy']
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert not any(source in CSS for source in ('url(', '@import'))
    assert seen.all('html') == [dict(lang='en')]
    assert not Page(document('heading', 'verdict', [])).all('ul')


def test_an_image_is_recovered_from_its_address_and_a_large_one_is_scaled_down():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    for given in (pixels, pixels[..., ::-1], pixels[..., 0]):
        head, _, body = data_uri(given).partition(',')
        assert head == 'data:image/png;base64'
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(base64.b64decode(body)))), given)
    body = data_uri(np.zeros((600, 300, 3), np.uint8)).partition(',')[2]
    assert Image.open(io.BytesIO(base64.b64decode(body))).size == (96, 192)


def luminance(colour):
    parts = [int(colour[place:place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055)**2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize('scheme', [0, 1])
def test_text_and_lines_have_contrast_in_light_and_dark(scheme):
    colours = dict(re.findall(r'--(\w+): (#\w{6})', re.findall(r':root \{(.*?)\}', CSS, re.S)[scheme]))
    assert set(colours) == set(COLOURS)
    for behind in ('page', 'box'):
        for name in ('ink', 'soft', 'a', 'b', 'c', 'good'):
            light, dark = sorted((luminance(colours[name]), luminance(colours[behind])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, behind)
