import json

from jpegs import jpeg, picture
from processes import tool

RESNET18 = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'


def test_a_folder_of_images_gives_a_table_and_every_figure_as_json(tmp_path):
    for number in range(2):
        (tmp_path / f'{number}.jpg').write_bytes(jpeg(picture(375, 500, seed=number)))
    out = tmp_path / 'report.json'
    done = tool('benchmark.py', 'data', RESNET18, '--images', tmp_path, '--pairs', 2, '--out', out)
    found = json.loads(out.read_text())
    assert (found['benchmark'], found['images'], found['pairs'], found['threads']) == ('data', 2, 2, 1)
    assert found['command'].startswith(f'python tools/benchmark.py data {RESNET18} --images')
    assert {'as it is', 'scaled'} <= {row['name'] for row in found['rows']}
    assert '| pipeline ' in done.stdout
