"""The layers on their own."""
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from mmengine.registry import MODELS
from torch import nn

from micronet_mm.layers import (
    ChannelShuffle,
    DynamicShiftMax,
    MicroFactorizedDepthwiseConv,
    MicroFactorizedPointwiseConv,
    make_divisible,
    num_groups,
)
from micronet_mm.models import ARCHS, RELEASED, MicroBlockB, MicroNet


def without_norm(module):
    """BN as the identity, so that what remains is linear."""
    module.eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.eps = 0.0
    return module


@pytest.mark.parametrize('arch', RELEASED)
def test_equation_3_gives_the_released_group_numbers(arch):
    table = ARCHS[arch]
    channels = table.stem[0] * table.stem[1]
    for row in table.rows:
        if row.kind == 'A':
            hidden = channels * 4
        elif row.kind == 'E':
            hidden = row.channels
        else:
            hidden = channels * row.expansion[0] * row.expansion[1]
        if row.kind != 'A':
            assert num_groups(channels, hidden) == row.groups1[0]
        if row.kind != 'E':
            assert num_groups(hidden, row.channels) == row.groups2[0]
        channels = row.channels


@given(st.integers(1, 300), st.integers(1, 300))
def test_num_groups_divides_both_sides(narrow, wide):
    groups = num_groups(narrow, wide)
    assert narrow % groups == wide % groups == 0


@pytest.mark.parametrize(('value', 'divisor', 'rounded'), [(9, 4, 12), (5, 4, 8), (10, 4, 12), (13, 4, 12), (11, 8, 16),
                                                           (17, 8, 16), (1, 4, 4), (36, 4, 36)])
def test_make_divisible_of_single_values(value, divisor, rounded):
    assert make_divisible(value, divisor) == rounded


def test_make_divisible_is_the_nearest_multiple_unless_that_is_10_percent_below():
    for divisor in (4, 8):
        for value in range(1, 300):
            multiples = [m for m in range(divisor, 320, divisor) if m >= 0.9 * value]
            # Of two that are equally near the larger one.
            assert make_divisible(value, divisor) == min(multiples, key=lambda m: (abs(m - value), -m)), value


def test_pointwise_matrix_has_rank_one_blocks_and_full_coverage():
    conv = without_norm(MicroFactorizedPointwiseConv(18, reduction=2))  # figure 2: G = 3
    matrix = conv(torch.eye(18).view(18, 18, 1, 1)).detach()[:, :, 0, 0].T
    assert (matrix != 0).all()
    for block in (b for rows in matrix.split(6, 0) for b in rows.split(6, 1)):
        assert torch.linalg.matrix_rank(block) == 1


@pytest.mark.parametrize('kernel_size', [1, 3, 5])
@pytest.mark.parametrize('stride', [1, 2])
def test_depthwise_equals_a_conv_with_rank_one_kernels(kernel_size, stride):
    conv = without_norm(MicroFactorizedDepthwiseConv(4, (2, 3), kernel_size, stride)).double()
    vertical = conv.vertical.conv.weight.repeat_interleave(3, 0)  # of the two filters of a channel, each feeds three
    kernels = vertical @ conv.horizontal.conv.weight
    x = torch.rand(2, 4, 7, 9, dtype=torch.double)
    reference = F.conv2d(x.repeat_interleave(6, 1), kernels, stride=stride, padding=kernel_size // 2, groups=24)
    torch.testing.assert_close(conv(x), reference)


def test_dynamic_shift_max_follows_its_formula():
    torch.manual_seed(0)
    layer = DynamicShiftMax(16, groups=4, reduction=2, init=((1, 0.5), (0, 0.5))).double()
    for fc in (layer.fc1, layer.fc2):
        nn.init.normal_(fc.weight)
    x = torch.randn(2, 16, 5, 4, dtype=torch.double)
    z = layer.fc2(F.relu(layer.fc1(F.adaptive_avg_pool2d(x, 1).flatten(1))))
    a1, b1, a2, b2 = (c[..., None, None] for c in ((F.relu6(z + 3) / 6 - 0.5) * 4).chunk(4, 1))
    partner = torch.arange(16).view(4, 4).roll((-1, -1), (0, 1)).flatten()
    reference = torch.maximum((a1 + 1) * x + b1 * x[:, partner], (a2 + 0.5) * x + (b2 + 0.5) * x[:, partner])
    torch.testing.assert_close(layer(x), reference)


def test_dynamic_shift_max_starts_near_the_identity():
    x = torch.randn(2, 24, 6, 6)
    assert (DynamicShiftMax(24)(x) - x).abs().max() < 0.05 * x.abs().max()


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(channels=10, groups=4), '4 groups do not divide the 10 channels'),
    (dict(channels=8, J=0), 'J=0'),
    (dict(channels=8, shift='circular'), "shift='circular'"),
])
def test_dynamic_shift_max_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        DynamicShiftMax(**arguments)


@pytest.mark.parametrize('groups', [None, (None, 4), (4, None)])
def test_groups_not_given_follow_equation_3(groups):
    block = MicroBlockB(16, 32, groups1=groups, reduction=1)
    assert block.expand.conv.groups == block.act1.groups == 4


@pytest.mark.parametrize(('out_channels', 'width'), [(64, 8), (32, 8), (128, 16)])
def test_a3_of_a_block_that_does_not_compress_is_squeezed_as_the_others(out_channels, width):
    block = MicroBlockB(64, out_channels, expansion=(1, 1), reduction=8)
    assert block.act3.fc1.out_features == width and block.act1.fc1.out_features == 8


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match=r'^kernel_size=4 of MicroFactorizedDepthwiseConv must be an odd'):
        MicroFactorizedDepthwiseConv(4, kernel_size=4)


@pytest.mark.parametrize('cfg', [
    dict(type='ChannelShuffle', groups=(2, 4)),
    dict(type='ChannelRoll', groups=4),
    dict(type='DynamicShiftMax', channels=16),
    dict(type='StaticShiftMax', channels=16),
    dict(type='MicroFactorizedDepthwiseConv', in_channels=16),
    dict(type='MicroFactorizedPointwiseConv', in_channels=16),
    dict(type='MicroBlockA', in_channels=16, out_channels=16),
    dict(type='MicroBlockB', in_channels=16, out_channels=16),
    dict(type='MicroBlockC', in_channels=16, out_channels=16),
    dict(type='MicroBlockE', in_channels=16, out_channels=64),
], ids=lambda cfg: cfg['type'])
def test_layers_are_built_by_name_with_defaults(cfg):
    layer = MODELS.build(cfg)
    y = layer(torch.rand(2, 16, 6, 5))
    assert y.shape == (2, 64 if cfg['type'] == 'MicroBlockE' else 16, 6, 5)


def test_shuffles_run_in_order():
    x = torch.arange(8.).view(1, 8)
    y = ChannelShuffle(4)(ChannelShuffle(2)(x))
    assert torch.equal(ChannelShuffle((2, 4))(x), y)
    assert torch.equal(ChannelShuffle(())(x), x)


@pytest.mark.parametrize('coefficients', ['dynamic', 'static'])
@pytest.mark.parametrize('way', ['to_empty', 'assign'])
def test_a_network_built_on_the_meta_device_computes_what_was_stored(way, coefficients, monkeypatch):
    torch.manual_seed(0)
    options = dict(spatial=True, shift='paper', coefficients=coefficients)
    network, x = MicroNet('m0', **options).eval(), torch.rand(1, 3, 64, 64)
    with torch.device('meta'):
        other = MicroNet('m0', **options).eval()
    if way == 'to_empty':
        with monkeypatch.context() as patch:  # what memory that is not set may hold
            patch.setattr(torch, 'empty_like', lambda tensor, **keywords: torch.full_like(tensor, 77, **keywords))
            other.to_empty(device='cpu')
    other.load_state_dict(network.state_dict(), assign=way == 'assign')
    assert torch.equal(other(x)[-1], network(x)[-1])
    for (name, buffer), expected in zip(other.named_buffers(), network.buffers()):
        assert torch.equal(buffer, expected), name


def test_a_network_may_be_built_in_inference_mode():
    with torch.inference_mode():
        network = MicroNet('m0')
    network.float()  # sets the buffers again, which only inference mode may write to
    with torch.inference_mode():
        assert network(torch.rand(2, 3, 64, 64))[-1].isfinite().all()
