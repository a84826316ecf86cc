"""The figures in the docs show what the package computes and, of accuracies, what the paper prints."""
import re
from itertools import chain
from math import sqrt

import pytest
from mm import ROOT, call
from mmengine.registry import DefaultScope

from micronet_mm.analysis.block_diagrams import block_diagrams, describe, diagram
from micronet_mm.analysis.figures import PRIOR, TradeOff, accuracy_curves, gains, group_convs
from micronet_mm.analysis.paper_tables import TABLES, count_rows
from micronet_mm.models import ARCHS, MicroNet

TOOL = ROOT / 'tools' / 'paper_figures.py'
DOCS = ROOT / 'docs' / 'figures'


@pytest.fixture(scope='module')
def counted():
    pytest.importorskip('mmpretrain')
    yield count_rows(TABLES['7'].rows, ROOT / 'configs')
    DefaultScope._instance_dict.clear()


def test_accuracies_are_the_paper_s_and_costs_the_configs(counted):
    points = list(chain.from_iterable(accuracy_curves(counted).values()))
    assert len(points) == len(TABLES['7'].rows)
    for row, cost, _ in counted:
        point, = (point for point in points if point.name == row.name)
        assert (point.accuracy, point.paper_madds) == (row.accuracy, row.madds)
        assert point.madds == cost.madds / 1e6
    m0, = (point for point in points if point.label == 'M0')
    assert m0.madds == 4.054128


def test_families_are_told_apart_and_sorted_by_cost(counted):
    curves = accuracy_curves(counted[::-1])
    assert {family: [point.label for point in points] for family, points in curves.items()} == {
        'MicroNet': ['M0', 'M1', 'M2', 'M3'], 'MicroNet#': ['M1#', 'M2#', 'M3#'],
        'MobileNetV3-Small': ['0.15x', '0.2x', '0.35x', '0.5x']}


def test_gains_are_those_of_the_paper_s_text(counted):
    """Sections 1 and 6.1.2 say 12.9 of M0, 8.3 + 2.0 of M1, 9.6 of M2 and 4.5 of M3."""
    assert gains(accuracy_curves(counted)) == [12.9, 10.3, 9.6, 4.5]


def test_prior_networks_have_no_cost_of_ours():
    assert [(point.name, point.paper_madds, point.accuracy, point.madds) for point in PRIOR] == [
        ('MobileNetV3+BFT 0.5x', 15, 55.2, None), ('TinyNet-E', 24, 59.9, None)]


@pytest.mark.parametrize(('channels', 'reduction'), [(18, 2), (384, 6), (192, 8), (100, 3)])
def test_channels_and_connectivity_cross_where_eq_3_says(channels, reduction):
    trade = TradeOff.through(channels, reduction)
    groups, value = trade.crossing
    assert groups == pytest.approx(sqrt(channels / reduction)) and value == pytest.approx(channels)
    assert trade.channels(groups) == pytest.approx(trade.connectivity(groups))
    assert trade.channels(2 * groups) > channels > trade.connectivity(2 * groups)


@pytest.mark.parametrize('groups', [1, 3, 8, 32])
def test_the_curves_keep_the_cost_and_are_eq_2(groups):
    trade = TradeOff.through(384, 6)
    channels = trade.channels(groups)
    assert 2 * channels**2 / (trade.reduction * groups) == pytest.approx(trade.budget)
    assert trade.connectivity(groups) == pytest.approx(channels**2 / (trade.reduction * groups**2))


def test_the_layer_of_figure_3_is_one_of_m2():
    assert (64, 384, 8) in {(conv.in_channels, conv.out_channels, conv.groups) for conv in group_convs(['m2'])}


def test_group_numbers_are_those_of_the_tables_and_of_the_rule():
    convs = group_convs()
    assert all(conv.rule == conv.groups for conv in convs)
    for arch in ('m0', 'm3'):
        tables = [g for row in ARCHS[arch].rows for g in ((row.groups1 or [None])[0], (row.groups2 or [None])[0]) if g]
        assert [conv.groups for conv in convs if conv.arch == arch] == tables


def test_boxes_are_the_layers_of_the_blocks():
    """In their order, with their groups; the shapes fit each other and the network."""
    blocks = [block for stage in MicroNet('m2').stages for block in stage]
    drawn = block_diagrams('m2')
    assert [(d.title, d.shortcut) for d in drawn] == [
        ('Micro-Block-A', False), ('Micro-Block-B', False), ('Micro-Block-C', True)]
    for d, block in zip(drawn, blocks[2:5]):
        assert [box.name for box in d.boxes] == [name for name, _ in block.named_children()]
        for box in d.boxes:
            layers = [m for m in getattr(block, box.name).modules() if hasattr(m, 'groups')]
            groups = [m.groups if isinstance(m.groups, tuple) else (m.groups, ) for m in layers]
            assert box.groups == tuple(chain.from_iterable(groups))
            assert all(str(g) in ' '.join(box.details) for g in box.groups)
    assert [d.shape for d in drawn] == [(16, 28, 28), (24, 28, 28), (32, 14, 14)]
    assert [d.boxes[-1].shape for d in drawn] == [(24, 28, 28), (32, 14, 14), (32, 14, 14)]


def test_details_of_a_box():
    boxes = {box.name: box for box in block_diagrams('m2')[1].boxes}
    assert boxes['depthwise'].details == (
        '5 x 1: 144 → 144, 144 groups, stride 2', '1 x 5: 144 → 144, 144 groups, stride 2')
    assert (boxes['act1'].title, boxes['act1'].details) == ('Dynamic Shift-Max', ('J = 2, K = 2, 6 groups', ))
    assert boxes['expand'].details == ('1 x 1: 24 → 144, 6 groups', )


def test_layers_that_do_nothing_have_no_box():
    """M3 has one Dynamic Shift-Max a block, A2, so A1 is a ReLU6 and A3 nothing."""
    _, block, _ = block_diagrams('m3')
    assert [box.name for box in block.boxes if box.name.startswith('act')] == ['act1', 'act2']
    assert [box.title for box in block.boxes if box.name == 'act1'] == ['ReLU6']


def test_another_activation_is_named():
    import torch

    from micronet_mm.models import MicroBlockB
    block = MicroBlockB(16, 16, shift_max=dict(K=1)).eval()
    boxes = {box.name: box for box in diagram(block, torch.zeros(1, 16, 4, 4))[0].boxes}
    assert boxes['act1'].title == 'Dynamic Shift-Max + ReLU'
    with pytest.raises(TypeError, match='Linear is no layer'):
        describe(torch.nn.Linear(1, 1))


def test_drawing_shows_every_point_and_every_box(counted):
    from micronet_mm.analysis import figure_drawing as drawing

    def texts(figure):
        return re.sub(r'\s+', ' ', ' '.join(re.findall(r'>([^<>]+)</t', drawing.svg(figure).decode())))

    curves, diagrams = accuracy_curves(counted), block_diagrams()
    for point in chain(*curves.values(), PRIOR):
        assert point.label.replace('+', ' +') in texts(drawing.figure_5(curves)), point
    blocks = texts(drawing.figure_4(diagrams))
    for box in chain.from_iterable(d.boxes for d in diagrams):
        assert all(text in blocks for text in (box.name, box.title, *box.details)), box


def test_another_process_draws_the_same_bytes(tmp_path):
    """And the tool writes what was asked for and nothing else."""
    from micronet_mm.analysis import figure_drawing as drawing
    run = call(TOOL, '--only', '4', '3', '--out-dir', 'drawn', cwd=tmp_path)
    assert run.returncode == 0 and run.stdout.endswith('drawn: figures 3, 4\n'), run.stdout
    figures = {'figure_3.svg': drawing.figure_3(TradeOff.through(384, 6), group_convs()),
               'figure_4.svg': drawing.figure_4(block_diagrams())}
    assert {path.name: path.read_bytes() for path in (tmp_path / 'drawn').iterdir()} == {
        name: drawing.svg(figure) for name, figure in figures.items()}


def test_tool_refuses_a_file_as_a_folder(tmp_path):
    (tmp_path / 'taken').write_text('mine')
    run = call(TOOL, '--only', '3', '--out-dir', 'taken', cwd=tmp_path)
    assert run.returncode == 1 and run.stdout.splitlines()[-1].startswith('error: Output folder taken is not writable')
    assert (tmp_path / 'taken').read_text() == 'mine'


@pytest.mark.slow
def test_docs_are_up_to_date(tmp_path):
    """Compared byte for byte, so only with the version of matplotlib that drew them, which they name."""
    matplotlib = pytest.importorskip('matplotlib')
    if f'Matplotlib v{matplotlib.__version__}, ' not in (DOCS / 'figure_1.svg').read_text():
        pytest.skip('drawn by another version of matplotlib')
    run = call(TOOL, '--out-dir', 'drawn', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    for path in (tmp_path / 'drawn').iterdir():
        assert path.read_bytes() == (DOCS / path.name).read_bytes(), "run 'make figures'"


def test_docs_show_every_figure():
    text = (ROOT / 'docs' / 'figures.md').read_text()
    assert sorted(re.findall(r'\]\(figures/(\w+\.svg)\)', text)) == sorted(path.name for path in DOCS.iterdir())
