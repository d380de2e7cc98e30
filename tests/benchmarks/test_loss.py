import json
import math

import pytest
import torch
from mmrazor.models.losses import WSLD as RazorWSLD
from processes import tool

from wsld_plugin.benchmarks.gate import RefusedVariant
from wsld_plugin.benchmarks.loss import compare_losses
from wsld_plugin.benchmarks.loss_cost import peak_extra_bytes, traffic
from wsld_plugin.benchmarks.loss_gate import check_exact, kd_oracle, wsld_oracle
from wsld_plugin.benchmarks.loss_report import markdown, tell
from wsld_plugin.errors import ConfigError

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def report():
    return compare_losses([(4, 7), (2, 30)], pairs=3, warmup=1)


def test_every_loss_and_shape_has_a_table_that_begins_with_mmrazors_own(report):
    assert [(table['loss'], table['shape']) for table in report['tables']] == [
        ('WSLD', [4, 7]), ('KD', [4, 7]), ('WSLD', [2, 30]), ('KD', [2, 30])]
    for table in report['tables']:
        theirs, ours = table['rows']
        assert theirs['name'].startswith('MMRazor')
        assert ours['name'] == f'wsld_plugin {table["loss"]}'
        assert theirs['ratio'] == (1, 1, 1)
        assert theirs['predicted_ratio'] == 1
        assert ours['predicted_ratio'] == ours['bytes'] / theirs['bytes']
        assert table['unit'] == 4 * math.prod(table['shape'])
        for row in (theirs, ours):
            assert len(row['seconds']) == 3
            assert min(row['seconds']) > 0
            assert row['peak_extra_bytes'] > table['unit']
            assert 0 <= max(row['value_error'], row['gradient_error']) < 1e-5


def test_the_text_has_a_line_for_every_row_and_tells_on_what_it_ran(report, tmp_path, capsys):
    text = markdown(report)
    for value in (report['date'], report['machine'], report['command'], '3 rounds after 1', 'float32 on cpu'):
        assert value in text
    tables = [line for line in text.splitlines() if line.startswith('|')]
    assert len(tables) == 4 * 4
    assert '| WSLD, (2, 30) ' in text
    tell(report, tmp_path / 'loss.json')
    assert text in capsys.readouterr().out
    assert json.loads((tmp_path / 'loss.json').read_text()) == json.loads(json.dumps(report))


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_half_precision_is_closer_to_float64_in_ours_than_in_mmrazors(dtype):
    report = compare_losses([(8, 100)], pairs=2, warmup=1, dtype=dtype)
    theirs, ours = report['tables'][0]['rows']
    assert ours['value_error'] < 1e-6 < theirs['value_error']
    assert report['tables'][0]['unit'] == 2 * 800


def test_what_does_not_exist_is_refused_with_what_does():
    with pytest.raises(ConfigError, match="Did you mean 'float32'"):
        compare_losses([(4, 7)], pairs=2, dtype='float3')
    with pytest.raises(ConfigError, match="Did you mean 'wall'"):
        compare_losses([(4, 7)], pairs=2, clock='walls')
    with pytest.raises(ConfigError, match="device='cuda' with clock='cpu'"):
        compare_losses([(4, 7)], pairs=2, device='cuda', clock='cpu')


@pytest.mark.parametrize('oracle', [wsld_oracle, kd_oracle])
@pytest.mark.parametrize('tau', [1.0, 3.0])
def test_the_gradient_of_an_oracle_is_the_slope_of_its_value(oracle, tau):
    generator = torch.Generator().manual_seed(0)
    s, t = torch.randn(2, 5, 6, generator=generator, dtype=torch.float64)
    y = torch.arange(5)
    t[range(5), y] += 1000    # a certain teacher: the weights are 1, so that they do not add to the slope
    step = 1e-5 * torch.randn(5, 6, generator=generator, dtype=torch.float64)
    slope = oracle(s + step, t, y, tau)[0] - oracle(s - step, t, y, tau)[0]
    assert slope.item() == pytest.approx((2 * step * oracle(s, t, y, tau)[1]).sum().item(), rel=1e-6)


def test_the_oracle_of_wsld_is_what_mmrazor_computes_in_float64():
    s, t = torch.randn(2, 5, 6, dtype=torch.float64)
    y = torch.arange(5)
    s.requires_grad_()
    value = RazorWSLD(2.0, num_classes=6)(s, t, y)
    wanted = wsld_oracle(s, t, y, 2.0)
    torch.testing.assert_close(value, wanted[0])
    torch.testing.assert_close(torch.autograd.grad(value, s)[0], wanted[1])


@pytest.mark.parametrize(('value', 'gradient', 'what'), [
    (2.001, 1.0, 'value is 5.0e-04'), (2.0, 1.1, 'gradient is 1.0e-01'), (math.nan, 1.0, 'value is nan')])
def test_a_loss_that_is_not_exact_is_refused_by_name(value, gradient, what):
    wanted = torch.tensor(2.0, dtype=torch.float64), torch.tensor([[-.5, 1.0]], dtype=torch.float64)
    with pytest.raises(RefusedVariant, match=f'fast is not timed: its {what} of the largest away'):
        check_exact('fast', torch.tensor(value), torch.tensor([[-.5, gradient]]), wanted)
    assert check_exact('fast', torch.tensor(2.0), torch.tensor([[-.5, 1.0]]), wanted) == dict(
        value_error=0, gradient_error=0)


def test_peak_memory_counts_what_lives_at_one_time_and_the_result():
    x = torch.zeros(1000)

    def one_after_the_other():
        (x + 1).sum()
        (x + 1).sum()

    def both_at_once():
        return (x + 1) + (x + 1)

    sum_alone = 64   # a scalar
    assert 4000 <= peak_extra_bytes(one_after_the_other, CPU) <= 4000 + sum_alone
    assert peak_extra_bytes(both_at_once, CPU) == 12000
    assert peak_extra_bytes(lambda: x.view(10, 100), CPU) == 0


def test_peak_memory_sees_what_an_operation_allocates_for_itself():
    x = torch.zeros(1000, dtype=torch.float64)
    assert peak_extra_bytes(lambda: torch.logsumexp(x, 0), CPU) >= 8000


def test_traffic_counts_work_and_no_views():
    x = torch.zeros(1000)
    counted = traffic(lambda: (x + x).view(10, 100).detach())
    assert (counted.operations, counted.bytes) == (1, 12000)


def test_the_command_line_measures_the_shapes_that_it_is_given(tmp_path):
    out = tmp_path / 'report.json'
    done = tool('benchmark.py', 'loss', '--shape', '4,7', '2,30', '--pairs', 2, '--warmup', 1, '--threads', 1,
                '--out', out)
    found = json.loads(out.read_text())
    assert (found['benchmark'], found['pairs'], found['threads']) == ('loss', 2, 1)
    assert [table['shape'] for table in found['tables'][::2]] == [[4, 7], [2, 30]]
    assert '| KD, (4, 7) ' in done.stdout
    wrong = tool('benchmark.py', 'loss', '--shape', '4x7', check=False)
    assert wrong.returncode == 2
    assert '4x7: expected N,C such as 256,1000' in wrong.stderr
