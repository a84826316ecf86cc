"""The ablations of Tables 2 and 3 as variations of one network."""
import pytest
import torch
from torch import nn

from micronet_mm.models import ARCHS, MicroNet
from micronet_mm.models.variation import vary


@pytest.mark.parametrize(('width', 'group_scale'), [(0.5, 0.25), (1.4, 4), (0.35, 1), (1, 2)])
def test_width_and_group_scale(width, group_scale):
    backbone = MicroNet('m2', width=width, group_scale=group_scale, out_indices=(0, 1, 2, 3))
    plain = MicroNet('m2', out_indices=(0, 1, 2, 3))
    for ours, theirs in zip(backbone.out_channels, plain.out_channels):
        assert ours % 4 == 0 and ours == pytest.approx(width * theirs, rel=0.2, abs=2)
    assert [f.shape[1] for f in backbone(torch.rand(1, 3, 64, 64))] == list(backbone.out_channels)
    wide = backbone.stages[2][-1].expand.conv
    if width == 1:
        assert (wide.groups, plain.stages[2][-1].expand.conv.groups) == (16, 8)


@pytest.mark.parametrize('groups', [1, 2, 4, 8])
def test_a_fixed_number_of_groups(groups):
    backbone = MicroNet('m2', groups=groups)
    pointwise = [m for m in backbone.stages.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1)]
    assert len(pointwise) == 14
    # Only 12 channels cannot have 8.
    assert [m.groups for m in pointwise if m.groups != groups] == ([4] if groups == 8 else [])


@pytest.mark.parametrize(('lite', 'kinds'), [
    (None, 'AAABCCCCE'), ('nowhere', 'CCCBCCCCE'), ('everywhere', 'AAAAAAAAE'),
])
def test_where_the_lite_combination_is(lite, kinds):
    m2 = ARCHS['m2']
    varied = vary(m2, lite=lite)
    assert ''.join(row.kind for row in varied.rows) == kinds
    for row, before in zip(varied.rows[:-1], m2.rows):  # as wide as before between its convolutions
        assert row.expansion[0] * row.expansion[1] == before.expansion[0] * before.expansion[1]
    blocks = [block for stage in MicroNet('m2', lite=lite).stages for block in stage]
    assert [hasattr(block, 'expand') for block in blocks] == [kind != 'A' for kind in kinds]


def test_the_last_block_has_the_width_that_is_given():
    backbone = MicroNet('m2', width=0.5, last_channels=200, out_indices=(0, 3))
    assert backbone.out_channels == (8, 200)
    assert backbone(torch.rand(1, 3, 64, 64))[-1].shape[1] == 200


def test_a_variation_that_changes_nothing_has_the_released_groups():
    for arch in ('m0', 'm1', 'm2', 'm3'):
        blocks, plain = (MicroNet(arch, **options).stages for options in (dict(width=1.0000001), {}))
        for ours, theirs in zip(blocks.modules(), plain.modules()):
            if isinstance(ours, nn.Conv2d):
                assert (ours.groups, ours.weight.shape) == (theirs.groups, theirs.weight.shape)


@pytest.mark.parametrize(('given', 'message'), [
    (dict(width=0), 'width=0 of MicroNet must be a number above 0'),
    (dict(group_scale=-1), 'group_scale=-1 of MicroNet must be a number above 0'),
    (dict(groups=0), 'groups=0 of MicroNet must be a whole number of at least 1, or None for Eq. 3'),
    (dict(lite='low'), "lite='low' of MicroNet must be 'nowhere' or 'everywhere', or None for the lower layers"),
    (dict(last_channels=0), 'last_channels=0 of MicroNet must be a whole number of at least 1'),
])
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        MicroNet('m2', **given)
