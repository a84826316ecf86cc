"""The tables in the docs are what the configs give."""
import json

import pytest
from mm import ROOT, call
from mmengine.registry import DefaultScope

TOOL = ROOT / 'tools' / 'paper_tables.py'
DOCS = ROOT / 'docs' / 'paper_tables.md'

pytest.importorskip('mmpretrain')
pytest.importorskip('mmdet')


@pytest.fixture(autouse=True)
def fresh_scope():
    yield
    DefaultScope._instance_dict.clear()


@pytest.mark.slow
def test_docs_are_up_to_date(tmp_path):
    run = call(TOOL, '--markdown', 'tables.md', '--json', 'tables.json', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert (tmp_path / 'tables.md').read_text() == DOCS.read_text(), "run 'make tables'"
    tables = json.loads((tmp_path / 'tables.json').read_text())
    assert {name: len(rows) for name, rows in tables.items()} == {
        '3': 5, '4': 4, '5': 8, '6': 9, '7': 11, '8': 6, '9': 5}
    for row in (row for rows in tables.values() for row in rows):
        assert (ROOT / row['config']).exists()
        if row['paper_params_millions']:
            assert row['params_difference'] == pytest.approx(
                row['params'] / row['paper_params_millions'] / 1e6 - 1, abs=1e-4)
    for row in tables['8']:
        assert row['paper_madds_millions'] is None or abs(row['madds_difference']) < 0.07
        assert row['detector_madds'] > 20 * row['madds'] and row['detector_params'] > 5e6
    for row in tables['9'][:3]:
        assert abs(row['madds_difference']) < 0.01
        assert f"{row['params'] / 1e6:.1f}" == str(row['paper_params_millions'])
    micronets = [r for r in tables['7'] if r['name'].startswith('MicroNet')]
    assert all(abs(r['params_difference']) < 0.03 and abs(r['madds_difference']) < 0.1 for r in micronets)


def test_ablations_differ_from_m2_by_one_line():
    for path in (ROOT / 'configs' / 'ablation').iterdir():
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith('#')]
        assert len(lines) == 2 and lines[1].startswith('model = dict(backbone=dict('), path


@pytest.mark.parametrize(('width', 'name'), [(0.5, 'small_050'), (0.75, 'small_075'), (1.0, 'small')])
def test_baseline_scales_as_the_library_does(width, name):
    from micronet_mm.models.mobilenetv3_small import MobileNetV3, scaled_setting
    assert scaled_setting(width, 16, 8) == MobileNetV3.arch_settings[name]


def test_baseline_at_full_width_is_the_library_s():
    import torch

    from micronet_mm.models import MobileNetV3Small
    from micronet_mm.models.mobilenetv3_small import MobileNetV3
    ours, theirs = MobileNetV3Small(1.0), MobileNetV3('small')
    ours.load_state_dict(theirs.state_dict())
    ours.eval(), theirs.eval()
    x = torch.rand(1, 3, 64, 64)
    assert torch.equal(ours(x)[0], theirs(x)[0])
