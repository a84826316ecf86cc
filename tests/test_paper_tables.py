"""The tables in the docs are what the configs give."""
import ast
import json
import re
from pathlib import Path

import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config

from micronet_mm.analysis import width_search

TOOL = ROOT / 'tools' / 'paper_tables.py'
DOCS = ROOT / 'docs' / 'paper_tables.md'

pytest.importorskip('mmpretrain')
pytest.importorskip('mmdet')


@pytest.mark.slow
def test_docs_are_up_to_date(tmp_path):
    run = call(TOOL, '--markdown', 'tables.md', '--json', 'tables.json', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / 'tables.md').read_text() == DOCS.read_text(), "run 'make tables'"
    tables = json.loads((tmp_path / 'tables.json').read_text())
    assert {name: len(rows) for name, rows in tables.items()} == {
        '2': 6, '3a': 5, '3b': 5, '3c': 3, '4': 4, '5': 8, '6': 9, '7': 11, '8': 6, '9': 5}
    far = set()
    for row in (row for rows in tables.values() for row in rows):
        assert (ROOT / row['config']).exists()
        for what in ('params', 'madds'):
            if row[f'paper_{what}_millions']:
                difference = row[what] / row[f'paper_{what}_millions'] / 1e6 - 1
                assert row[f'{what}_difference'] == pytest.approx(difference, abs=1e-4)
                if abs(difference) > 0.05:
                    far.add((Path(row['config']).stem, what))
    assert far == {  # which the page explains
        ('imagenet_micronet_m2_relu', 'madds'), ('imagenet_micronet_m2', 'madds'),
        ('imagenet_micronet_m1_sharp', 'madds'), ('imagenet_mobilenetv3_small_015', 'params'),
        ('imagenet_mobilenetv3_small_015', 'madds'), ('imagenet_mobilenetv3_small_035', 'madds'),
        ('faster_rcnn_micronet_m2', 'madds')}
    for row in tables['8']:
        assert row['paper_madds_millions'] is None or abs(row['madds_difference']) < 0.07
        assert row['detector_madds'] > 20 * row['madds'] and row['detector_params'] > 5e6
    for row in tables['9'][:3]:
        assert abs(row['madds_difference']) < 0.01
        assert f"{row['params'] / 1e6:.1f}" == str(row['paper_params_millions'])
    micronets = [r for r in tables['7'] if r['name'].startswith('MicroNet')]
    assert all(abs(r['params_difference']) < 0.03 and abs(r['madds_difference']) < 0.1 for r in micronets)


def test_ablations_differ_from_m2_by_arguments_of_the_backbone():
    for path in (ROOT / 'configs' / 'ablation').glob('imagenet_micronet_m2_*.py'):
        base, model = ast.parse(path.read_text()).body
        assert ast.unparse(base) == "_base_ = '../_base_/ablation_m2.py'", path
        assert re.fullmatch(r'model = dict\(backbone=dict\([^{]*\)(, head=dict\(in_channels=\d+\))?\)',
                            ast.unparse(model)), path


def test_configs_have_the_widths_that_the_search_finds(monkeypatch):
    """Over a few widths around them: the whole search takes minutes."""
    monkeypatch.setattr(width_search, 'WIDTHS', [0.40, 0.41, 0.42])
    monkeypatch.setattr(width_search, 'LAST', [216, 224, 232])
    best = width_search.variations_of_m2('G = 1')[0].widths
    backbone = Config.fromfile(ROOT / 'configs' / 'ablation' / 'imagenet_micronet_m2_relu_groups_1.py').model.backbone
    assert best == {name: backbone[name] for name in best}


@pytest.mark.slow
def test_the_whole_search_gives_the_widths_of_the_configs():
    names = {what: f'imagenet_micronet_m2_relu_groups_{what[-1]}' for what in width_search.VARIATIONS}
    names.update({'micro-factorized depthwise': 'imagenet_micronet_m2_relu_dense_pointwise',
                  'micro-factorized depthwise and pointwise': 'imagenet_micronet_m2_relu_lite_nowhere',
                  'lite combination everywhere': 'imagenet_micronet_m2_relu_lite_everywhere'})
    found = {name: width_search.variations_of_m2(what)[0].widths for what, name in names.items()}
    found['imagenet_mobilenetv2'] = width_search.mobilenetv2()[0].widths
    for name, widths in found.items():
        cfg = Config.fromfile(ROOT / 'configs' / 'ablation' / f'{name}.py')
        assert widths == {key: cfg.model.backbone[key] for key in widths}, name


def test_mobilenetv2_at_full_width_is_the_library_s():
    from mmpretrain.models.backbones import MobileNetV2

    from micronet_mm.models import MobileNetV2Narrow
    ours, theirs = MobileNetV2Narrow(divisor=8), MobileNetV2()
    ours.load_state_dict(theirs.state_dict())
    ours.eval(), theirs.eval()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(x)[0], theirs(x)[0])


@pytest.mark.parametrize(('width', 'name'), [(0.5, 'small_050'), (0.75, 'small_075'), (1.0, 'small')])
def test_baseline_scales_as_the_library_does(width, name):
    from micronet_mm.models.baselines.mobilenetv3_small import MobileNetV3, scaled_setting
    assert scaled_setting(width, 16, 8) == MobileNetV3.arch_settings[name]


def test_baseline_at_full_width_is_the_library_s():
    from micronet_mm.models import MobileNetV3Small
    from micronet_mm.models.baselines.mobilenetv3_small import MobileNetV3
    ours, theirs = MobileNetV3Small(1.0), MobileNetV3('small')
    ours.load_state_dict(theirs.state_dict())
    ours.eval(), theirs.eval()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(x)[0], theirs(x)[0])
