"""What tools/benchmark_latency.py reports; how long anything takes is never asked."""
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from mm import ROOT, call

pytest.importorskip('mmpretrain')
pytest.importorskip('onnxruntime')

from mmengine.config import Config
from test_plan import has_library

from micronet_mm.analysis.from_config import count_config
from micronet_mm.analysis.paper_tables import TABLES
from micronet_mm.latency import networks
from micronet_mm.latency import variants as forms
from micronet_mm.latency.figure import latency_curves, latency_figure
from micronet_mm.latency.profile import profile
from micronet_mm.latency.report import machine, records, table
from micronet_mm.latency.timing import TIMED, measure
from micronet_mm.layers import DynamicShiftMax

pytestmark = pytest.mark.filterwarnings('ignore')  # of tracing
KNOWN = {network.name: network for network in networks.CLASSIFIERS}
CONFIGS = ROOT / 'configs'
CPUINFO = Path('/proc/cpuinfo')


def contender(network, form, times, nodes=None):
    return forms.Contender(network, form, lambda: None, nodes, times)


GIVEN = [
    contender('m0', 'plain trace', [0.004, 0.002, 0.009], (20, 10)),
    contender('m0', 'export', [0.001, 0.001, 0.003], (8, 5)),
    contender('mobilenetv3_small_050', 'plain trace', [0.002, 0.002, 0.002], (7, 6)),
    contender('mobilenetv3_small_050', 'export', [0.002, 0.004, 0.008], (9, 6)),
    contender('lcnet_050', 'plain trace', [0.003, 0.003, 0.003], (5, 5)),
]
CHOSEN = [KNOWN[name] for name in ('lcnet_050', 'm0', 'mobilenetv3_small_050')]


def test_medians_and_ratios_are_those_of_the_times_given():
    found = {(record['network'], record['form']): record for record in records(GIVEN, CHOSEN, 8, 1)}
    assert [key[0] for key in found] == ['lcnet_050', *['m0'] * 2, *['mobilenetv3_small_050'] * 2]
    trace, export = found['m0', 'plain trace'], found['m0', 'export']
    assert (trace['median_ms'], trace['images_per_second']) == (pytest.approx(4), pytest.approx(2000))
    assert (trace['batch'], trace['threads'], trace['passes']) == (8, 1, 3)
    assert (trace['of_baseline'], trace['of_plain_trace']) == (pytest.approx(2), 1)
    assert (export['of_baseline'], export['of_plain_trace']) == (pytest.approx(0.25), pytest.approx(0.25))
    assert export['nodes'] == [8, 5] and export['top1'] == 46.6
    alone, = records(GIVEN[1:2], CHOSEN, 1, 1)
    assert alone['of_baseline'] is None and alone['of_plain_trace'] is None


def test_table_has_a_line_for_each_network():
    lines = table(records(GIVEN, CHOSEN, 1, 1)).splitlines()
    assert lines[0] == ('| network | top-1 | plain trace | export | export, of plain trace | nodes, plain trace '
                        '| nodes, export |')
    assert lines[2] == '| PP-LCNet 0.5x | 63.1 | 3.00 (1.50x) | - | - | 5 to 5 | - |'
    assert lines[3] == '| MicroNet-M0 | 46.6 | 4.00 (2.00x) | 1.00 (0.25x) | 0.25x | 20 to 10 | 8 to 5 |'
    assert '| 250 (2.00x) |' in table(records(GIVEN, CHOSEN, 1, 1), throughput=True)


def test_every_form_of_a_network_runs_and_equals_it():
    small = replace(KNOWN['m0'], options={'model.backbone.width': 0.5, 'model.backbone.last_channels': 48,
                                          'model.head.in_channels': 48, 'model.head.hidden_channels': 16})
    built = networks.build(small, CONFIGS)
    built.size = (64, 64)
    ready, omitted = forms.contenders('m0', built, ['eager', 'deploy', 'plain trace', 'export'], 1)
    measure(ready, rounds=1)
    assert [each.form for each in ready] == ['eager', 'deploy', 'plain trace', 'export'] and not omitted
    assert all(len(each.times) == TIMED for each in ready)
    trace, export = ready[2].nodes, ready[3].nodes
    assert trace[0] > 1500 and export[0] < 500, 'shuffles of the plain trace are reshapes, ours are gathers or gone'
    assert trace[1] < trace[0] and export[1] < export[0]
    built.deploy = None
    assert [each.form for each in forms.contenders('m0', built, ['eager', 'export'], 1)[0]] == ['eager']


@pytest.mark.skipif(not has_library(), reason='there is nothing to run plans')
def test_native_forms_have_weights_of_fewer_and_fewer_bits():
    built, names = networks.build(KNOWN['m0'], CONFIGS), ['native', 'native bf16', 'native int8']
    built.size = (64, 64)
    ready, omitted = forms.contenders('m0', built, names, 1)
    assert [each.form for each in ready] == names and not omitted
    exact, *others = (each.run()[0] for each in ready)
    bf16, int8 = (float((other - exact).abs().max() / exact.abs().max()) for other in others)
    assert 1e-5 < bf16 < int8 < 0.1


def test_an_export_that_is_wrong_is_not_timed():
    built = networks.build(KNOWN['mobilenetv3_small_015'], CONFIGS)
    built.size, built.normalization = (64, 64), ([0.0] * 3, [1.0] * 3)
    with pytest.raises(ValueError, match='ONNX Runtime and PyTorch differ'):
        forms.contenders('v3', built, ['export'], 1)


def test_what_a_runtime_gets_wrong_is_left_out_and_named(monkeypatch):

    def wrong(built, threads):
        raise forms.DiffersError('OpenVINO and PyTorch differ')

    monkeypatch.setitem(forms.FORMS, 'openvino', wrong)
    assert forms.contenders('m0', forms.Built(None, (8, 8)), ['openvino'], 1) == (
        [], ['m0 in openvino is left out: OpenVINO and PyTorch differ'])


@pytest.fixture
def tool(monkeypatch):
    import benchmark_latency
    monkeypatch.setattr(forms, 'find_spec', lambda name: None)
    monkeypatch.setattr(networks, 'find_spec', lambda name: None)

    def run(*arguments):
        monkeypatch.setattr(sys, 'argv', ['benchmark_latency.py', *map(str, arguments)])
        benchmark_latency.main()

    monkeypatch.setattr(benchmark_latency, 'run', lambda *args: (records(GIVEN, CHOSEN, *args[2:4]), []))
    return run


def test_tool_names_what_is_left_out_and_writes_what_it_measured(tool, tmp_path, capsys):
    tool('--json', tmp_path / 'new' / 'found.json', '--plot', tmp_path / 'found.svg')
    printed = capsys.readouterr().out
    install = "is not installed: pip install 'micronet-mm[benchmark]'"
    assert f'openvino is left out: openvino {install}\n' in printed
    assert 'int8 is left out: ' in printed and f'PP-LCNet 0.5x is left out: timm {install}\n' in printed
    assert table(records(GIVEN, CHOSEN, 1, 1)) in printed
    found = json.loads((tmp_path / 'new' / 'found.json').read_text())
    assert found['results'] == records(GIVEN, CHOSEN, 1, 1) and len(found['left_out']) == 5
    assert found['machine'] == machine() and found['machine']['onnxruntime']
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['found.json', 'found.svg', 'new']


def test_throughput_is_of_batches_with_one_and_two_threads(tool, capsys):
    tool('--throughput')
    heads = re.findall(r'batch 8, (\d threads?): images per second', capsys.readouterr().out)
    assert heads == ['1 thread', '2 threads']


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--models', '--plot', 'a.svg'], '--plot is for single images of classifiers'),
    (['--rounds', '0'], "argument --rounds: '0' must be a whole number of at least 1"),
    (['--networks', 'm9'], "invalid choice: 'm9'"),
])
def test_mistakes(arguments, message, tool, capsys):
    with pytest.raises(SystemExit):
        tool(*arguments)
    assert message in capsys.readouterr().err


def test_a_folder_in_the_place_of_a_file_is_noticed_before_anything_is_measured(tool, tmp_path):
    with pytest.raises(SystemExit, match='is a folder; name a file'):
        tool('--json', tmp_path)


def test_picture_shows_the_forms_that_stand_for_each_family():
    given = [*GIVEN, contender('m0', 'openvino', [0.005] * 3, (8, 9)), contender('m1', 'export', [0.002] * 3, (8, 5))]
    curves = latency_curves(records(given, [*CHOSEN, KNOWN['m1']], 1, 1))
    assert curves == {
        'ONNX Runtime': {'others': [('PP-LCNet 0.5x', 3.0, 63.1)], 'MicroNet': [('M0', 1.0, 46.6), ('M1', 2.0, 51.4)],
                         'MobileNetV3-Small': [('0.5x', 2.0, 58.0)]},
        'OpenVINO': {'MicroNet': [('M0', 5.0, 46.6)]}}
    figure = latency_figure(curves)
    drawn = [{(float(x), float(y)) for line in axes.get_lines() for x, y in line.get_xydata()} for axes in figure.axes]
    assert drawn == [{(3.0, 63.1), (1.0, 46.6), (2.0, 51.4), (2.0, 58.0)}, {(5.0, 46.6)}]
    with pytest.raises(ValueError, match='nothing was measured that the picture shows'):
        latency_figure({})


def test_accuracies_are_published_ones():
    for row in TABLES['7'].rows:
        network, = (network for network in networks.CLASSIFIERS if network.config == row.config
                    and not network.options)
        assert (network.top1, network.title, network.source) == (row.accuracy, row.name, 'the paper')
    assert [KNOWN[f'mobilenetv3_small_{width}'].top1 for width in ('015', '050', '075', '100')] == [
        33.7, 58.0, 65.4, 67.4]


def test_docs_have_a_line_for_each_network():
    text = ''.join((ROOT / 'docs' / name).read_text() for name in ('latency.md', 'native.md'))
    for network in (*networks.CLASSIFIERS, *networks.MODELS):
        assert f'| {network.title} |' in text, network.title


def test_a_profile_has_the_multiply_adds_of_the_network():
    """Those of convolutions and linear layers, the squeeze of Shift-Max among them, for each of its steps."""
    built = networks.build(KNOWN['m0'], CONFIGS)
    kinds, reached = profile(built.deployed, built.pixels, passes=2)
    counted = count_config(Config.fromfile(CONFIGS / 'imagenet_micronet_m0.py')).by_kind()
    squeezes = [layer.weight.numel() for module in built.plain.modules() if isinstance(module, DynamicShiftMax)
                for layer in (module.fc1, module.fc2)]
    assert sum(kind.madds for kind in kinds) == sum(squeezes) + sum(
        counted[name].madds for name in ('convolution', 'depthwise', 'pointwise', 'linear'))
    assert all(kind.seconds > 0 for kind in kinds) and reached.madds > 0 < reached.bandwidth


@pytest.mark.skipif(not CPUINFO.exists() or 'cpuid_fault' not in CPUINFO.read_text(),
                    reason='CPUID cannot be made to fault here')
def test_without_avx512(tmp_path):
    """Libraries choose as on a processor that has it not."""
    done = call(ROOT / 'tools' / 'without_avx512.py', sys.executable, '-c',
               'import torch; print(torch.backends.cpu.get_cpu_capability())', cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip() in ('AVX2', 'DEFAULT'), done.stdout


def test_without_avx512_names_what_it_cannot_run(tmp_path):
    done = call(ROOT / 'tools' / 'without_avx512.py', 'no-such-program', cwd=tmp_path)
    assert done.returncode == 1 and done.stdout.strip() == 'no-such-program does not exist; name a program to run.'
