"""Tools to look at networks, data and trainings with."""
import json
import os
import re

import pytest
import torch
from mm import ROOT, call, write_config

from micronet_mm.analysis.fusions import fusions_of
from micronet_mm.analysis.table_1 import table_1
from micronet_mm.datasets import write_figures
from micronet_mm.layers import DynamicShiftMax
from micronet_mm.models import MicroNet

TOOLS = ROOT / 'tools'


def test_table_1_says_what_the_paper_says():
    """k, C and C / R of the Micro-Blocks of M3; the paper's blocks begin at our depthwise convolutions."""
    found = re.findall(r'Micro-(\w) \| (\d) \| (\d+) \| (\d+)', table_1('m3'))
    assert found == [('A', '3', '48', '16'), ('A', '3', '64', '24'), ('A', '3', '96', '24'), ('B', '5', '144', '24'),
                     ('C', '5', '192', '32'), ('C', '5', '192', '32'), ('C', '5', '384', '64'),
                     ('C', '5', '480', '80'), ('C', '5', '480', '80'), ('C', '5', '720', '120'),
                     ('C', '3', '720', '120')]


@pytest.mark.parametrize('arch', ['m0', 'm1', 'm2', 'm3'])
def test_table_1_has_the_shapes_of_the_network(arch):
    blocks = re.findall(r'^\| (\d+) x \1 \| (?:Micro-\w|expansion) \|.*?\|.*?\|.*?\| (\d+) ', table_1(arch, 96), re.M)
    shapes = []
    network = MicroNet(arch).eval()
    for stage in network.stages:
        for block in stage:
            block.register_forward_hook(lambda _, inputs, y: shapes.append(tuple(y.shape[1:])))
    with torch.no_grad():
        network(torch.rand(1, 3, 96, 96))
    assert [(int(width), int(size), int(size)) for size, width in blocks] == shapes


def test_fusions_are_those_that_the_layer_takes():
    torch.manual_seed(0)
    layer = DynamicShiftMax(8, groups=4, J=2, K=3, init=((1, 0.5, -1), (0, 0.5, 1)))
    x = torch.randn(1, 8, 5, 6)
    found, = fusions_of(torch.nn.Sequential(layer), x)
    a, y = layer.coefficients(x.mean((2, 3))), layer(x)
    values = [sum(a[0, k, j][:, None, None] * x[0, layer.partner[j]] for j in range(2)) for k in range(3)]
    torch.testing.assert_close(torch.stack(values).amax(0), y[0])
    firsts = torch.isclose(values[0], y[0])
    assert float(found.shares.sum()) == pytest.approx(1)
    assert float(found.shares[0]) == pytest.approx(float(firsts.float().mean()))
    torch.testing.assert_close(found.second, 1 - firsts.float().mean(0))


@pytest.mark.parametrize(('model', 'images', 'message'), [
    (torch.nn.Conv2d(3, 3, 1), 1, 'no layer of Shift-Max with several fusions'),
    (torch.nn.Sequential(DynamicShiftMax(8)), 2, '2 images were given'),
])
def test_where_there_are_no_fusions(model, images, message):
    with pytest.raises(ValueError, match=message):
        fusions_of(model, torch.rand(images, 8, 2, 2))


def test_the_picture_of_fusions(tmp_path):
    from micronet_mm.analysis.from_config import build_model
    from micronet_mm.engine.cli import read_config
    config = ROOT / 'configs' / 'demo' / 'retinanet_micronet_m3_demo.py'
    torch.save(dict(state_dict=build_model(read_config(str(config))).state_dict()), tmp_path / 'weights.pth')
    done = call(TOOLS / 'visualize_shift_max.py', config, 'weights.pth', 'fusions.png', cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert '11 layers; on average ' in done.stdout
    assert (tmp_path / 'fusions.png').read_bytes().startswith(b'\x89PNG')


@pytest.mark.parametrize(('arguments', 'message'), [
    (['print_network.py', 'm7'], "error: arch='m7' is unknown; use one of"),
    (['print_network.py', 'm0', '--size', '0'], "argument --size: '0' must be a whole number of at least 1"),
    (['visualize_shift_max.py', 'nope.py', 'x.pth', 'x.png'], 'error: the config nope.py does not exist'),
    (['visualize_shift_max.py', 'nope.py', 'x.pth', 'x.txt'], 'error: x.txt is to be a picture'),
    (['browse_dataset.py', 'nope.py'], 'error: the config nope.py does not exist'),
    (['analyze_logs.py', 'paint'], "invalid choice: 'paint'"),
])
def test_a_mistake_gets_one_line(arguments, message, tmp_path):
    done = call(TOOLS / arguments[0], *arguments[1:], cwd=tmp_path)
    assert done.returncode != 0 and message in done.stdout.splitlines()[-1] and not any(tmp_path.iterdir())


def test_the_dataset_is_drawn(tmp_path):
    write_figures(tmp_path / 'figures', num_train=3, num_val=1)
    config = write_config(tmp_path / 'config.py', tmp_path / 'figures')
    done = call(TOOLS / 'browse_dataset.py', config, '--output-dir', tmp_path / 'drawn', '--not-show', cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert len([*(tmp_path / 'drawn').rglob('*.jpg')]) == 3


def test_logs_are_analysed(tmp_path):
    lines = [dict(epoch=epoch, step=step, time=0.5, loss=1.0, lr=0.1) for epoch in (1, 2) for step in (1, 2, 3)]
    (tmp_path / 'log.json').write_text('\n'.join(map(json.dumps, lines)))
    done = call(TOOLS / 'analyze_logs.py', 'cal_train_time', 'log.json', cwd=tmp_path)
    assert '0.5000 s/iter' in done.stdout, done.stdout
    done = call(TOOLS / 'analyze_logs.py', 'plot_curve', 'log.json', '--keys', 'loss', '--out', 'loss.png',
                cwd=tmp_path)
    assert done.returncode == 0 and (tmp_path / 'loss.png').read_bytes().startswith(b'\x89PNG'), done.stdout


def test_without_what_draws_logs_it_is_named(tmp_path):
    (tmp_path / 'sitecustomize.py').write_text(
        'import importlib.util as util\nfind = util.find_spec\n'
        "util.find_spec = lambda name, *rest: None if name == 'seaborn' else find(name, *rest)\n")
    env = dict(os.environ, PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get('PYTHONPATH', '')]))
    done = call(TOOLS / 'analyze_logs.py', 'cal_train_time', 'log.json', cwd=tmp_path, env=env, cold=True)
    assert done.stdout.splitlines()[-1].startswith('error: seaborn is not installed'), done.stdout
