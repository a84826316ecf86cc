"""Deferred normalization, activation and shuffle: blocks that pass them on compute what their layers say one by one."""
import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.cnn import fuse_conv_bn
from torch import nn
from torch.nn.utils import prune

from micronet_mm.models import MicroBlockA, MicroBlockB, MicroBlockE, MicroNet, MicroStem
from micronet_mm.ops import Deferred, Moments, conv_with_moments, defer, reference_only, settle
from micronet_mm.ops.convolution import CompiledConv, reference_conv
from micronet_mm.ops.deferred import Settle, order_of, settled

INIT = dict(init=((1, 0.5), (0, 0.5)))
BLOCKS = {
    'stem': lambda: MicroStem(3, (4, 3)),
    'A': lambda: MicroBlockA(8, 12, 3, 2, shift_max=INIT),
    'A without A2': lambda: MicroBlockA(8, 8, 5, dynamic=(0, 0, 1), shift_max=INIT),
    'A with attention': lambda: MicroBlockA(8, 8, 3, shift_max=dict(**INIT, spatial=True)),
    'B': lambda: MicroBlockB(16, 16, 5, shift_max=INIT),
    'B of M3': lambda: MicroBlockB(16, 24, 3, 2, dynamic=(0, 1, 0), shift_max=INIT),
    'B without A2': lambda: MicroBlockB(16, 24, 3, dynamic=(1, 0, 0), shift_max=INIT),
    'B with K = 1': lambda: MicroBlockB(16, 16, 3, shift_max=dict(K=1)),
    'B with J = K = 3': lambda: MicroBlockB(16, 16, 7, shift_max=dict(J=3, K=3, shift='paper')),
    'B of a kernel without C++': lambda: MicroBlockB(16, 16, 9, shift_max=INIT),
    'B with groups normalized': lambda: MicroBlockB(16, 16, 3, norm_cfg=dict(type='GN', num_groups=4)),
    'E': lambda: MicroBlockE(16, 48, shift_max=INIT),
}


def trained_step(block, x, upstream):
    """Output, gradients of input and parameters, and statistics after a step of training."""
    x = x.clone().requires_grad_()
    y = block(x)
    y.backward(upstream)
    gradients = {name: p.grad for name, p in block.named_parameters() if p.grad is not None}
    return dict(y=y, x=x.grad, **gradients, **dict(block.named_buffers()))


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('name', BLOCKS)
def test_a_block_is_its_layers_one_by_one(name, training):
    """In double precision: values, every gradient, running statistics."""
    torch.manual_seed(0)
    block = BLOCKS[name]().double().train(training)
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, -1, 2)
            nn.init.normal_(module.bias)
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight)
    other = copy.deepcopy(block)
    channels = next(block.parameters()).shape[1] if name == 'stem' else (8 if name.startswith('A') else 16)
    x = torch.randn(3, channels, 9, 7, dtype=torch.double) * 2
    upstream = torch.randn_like(block.eval()(x))
    block.train(training)
    ours = trained_step(block, x, upstream)
    with reference_only():
        theirs = trained_step(other, x, upstream)
    assert 'Settle' in str(ours['y'].grad_fn) or 'CompiledShiftMax' in str(ours['y'].grad_fn) or 'groups' in name
    assert ours.keys() == theirs.keys()
    for key, value in theirs.items():
        torch.testing.assert_close(ours[key], value, msg=lambda text, key=key: f'{key}: {text}')


@pytest.mark.parametrize('kernel', [(1, 1), (3, 1), (1, 3)])
def test_deferred_convolutions_can_be_differentiated_twice(kernel):
    torch.manual_seed(0)
    raw = torch.randn(2, 2, 2, 3, dtype=torch.double, requires_grad=True)
    scale, shift = (torch.randn(2, dtype=torch.double, requires_grad=True) for _ in range(2))
    weight = torch.randn(4, 1, *kernel, dtype=torch.double, requires_grad=True)

    def conv(*variables):
        return CompiledConv.apply(*variables, 'relu', order_of(2, (2, )), 1, 2, True)

    assert torch.autograd.gradcheck(conv, (raw, scale, shift, weight))
    assert torch.autograd.gradgradcheck(conv, (raw, scale, shift, weight))


def test_settling_can_be_differentiated_twice():
    torch.manual_seed(0)
    raw, shortcut = (torch.randn(2, 4, 2, 1, dtype=torch.double, requires_grad=True) for _ in range(2))
    scale, shift = (torch.randn(4, dtype=torch.double, requires_grad=True) for _ in range(2))

    def settle_all(*variables):
        return Settle.apply(*variables, 'relu6', order_of(4, (2, )))

    assert torch.autograd.gradcheck(settle_all, (raw, scale, shift, shortcut))
    assert torch.autograd.gradgradcheck(settle_all, (raw, scale, shift, shortcut))


CONVS = st.tuples(st.sampled_from(['vertical', 'horizontal', 'pointwise']), st.integers(1, 3), st.integers(1, 3),
                  st.integers(1, 9), st.integers(1, 9), st.sampled_from([3, 5, 7]), st.integers(1, 3))


def conv_arguments(conv, generator):
    kind, groups, filters, height, width, kernel, stride = conv

    def random(*shape):
        return torch.randn(shape, dtype=torch.double, generator=generator).requires_grad_()

    channels = 4 * groups
    if kind == 'pointwise':
        return random(2, channels, height, width), random(filters * groups, 4, 1, 1), 1, groups
    shape = (kernel, 1) if kind == 'vertical' else (1, kernel)
    return random(2, channels, height, width), random(channels * filters, 1, *shape), stride, channels


@settings(max_examples=80)
@given(CONVS, st.sampled_from(['none', 'relu', 'relu6']), st.sampled_from([(), (2, ), (2, 4)]), st.booleans())
def test_convolutions_of_deferred_inputs(conv, clamp, shuffles, normalized):
    """Values, moments and all gradients against PyTorch's operations."""
    generator = torch.Generator().manual_seed(sum(map(ord, repr(conv))))
    raw, weight, stride, groups = conv_arguments(conv, generator)
    scale, shift = (torch.randn(raw.shape[1], dtype=torch.double, generator=generator).mul(3).requires_grad_()
                    for _ in range(2)) if normalized else (None, None)
    order = order_of(raw.shape[1], shuffles) if shuffles else None
    arguments = raw, scale, shift, weight, clamp, order, stride, groups, True
    ours, theirs = CompiledConv.apply(*arguments), reference_conv(*arguments)
    variables = [t for t in arguments[:4] if t is not None]
    upstream = [torch.randn(y.shape, dtype=torch.double, generator=generator) for y in theirs]
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other)
    for mine, other in zip(*(torch.autograd.grad(outputs, variables, upstream) for outputs in (ours, theirs))):
        torch.testing.assert_close(mine, other)


def test_long_planes_are_cut_into_segments():
    """More positions than one task of the pointwise convolution has, the last segment shorter."""
    torch.manual_seed(0)
    raw = torch.randn(2, 6, 97, 101, dtype=torch.double, requires_grad=True)
    scale, shift = torch.randn(2, 6, dtype=torch.double, requires_grad=True)
    weight = torch.randn(9, 2, 1, 1, dtype=torch.double, requires_grad=True)
    arguments = raw, scale, shift, weight, 'relu6', order_of(6, (2, )), 1, 3, True
    ours, theirs = CompiledConv.apply(*arguments), reference_conv(*arguments)
    upstream = [torch.randn_like(y) for y in theirs]
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other)
    for mine, other in zip(*(torch.autograd.grad(y, (raw, scale, shift, weight), upstream) for y in (ours, theirs))):
        torch.testing.assert_close(mine, other)


@settings(max_examples=30)
@given(st.sampled_from(['none', 'relu', 'relu6']), st.sampled_from([(), (3, ), (2, 3)]), st.booleans(), st.booleans(),
       st.integers(1, 6))
def test_settling(clamp, shuffles, normalized, with_shortcut, size):
    torch.manual_seed(size)
    raw, shortcut = torch.randn(2, 2, 6, size, 3, dtype=torch.double, requires_grad=True)
    scale, shift = torch.randn(2, 6, dtype=torch.double, requires_grad=True).mul(3) if normalized else (None, None)
    shortcut = shortcut if with_shortcut else None
    arguments = raw, scale, shift, shortcut, clamp, order_of(6, shuffles) if shuffles else None
    variables = [t for t in arguments[:4] if t is not None]
    ours, theirs = Settle.apply(*arguments), settled(*arguments)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn_like(theirs)
    for mine, other in zip(*(torch.autograd.grad(y, variables, upstream, retain_graph=True) for y in (ours, theirs))):
        torch.testing.assert_close(mine, other)


def test_moments_do_not_lose_digits():
    """A mean a thousand times the deviation, in single precision."""
    torch.manual_seed(0)
    x = torch.randn(4, 8, 40, 40) + 1000
    weight = torch.eye(8)[..., None, None]
    _, moments = conv_with_moments(Deferred(x), weight)
    exact = x.double()
    torch.testing.assert_close(moments, Moments(exact.mean((2, 3)).float(), exact.var((0, 2, 3), correction=0).float()),
                               rtol=1e-4, atol=0)


def test_a_block_keeps_what_its_convolutions_gave_and_nothing_else():
    """In full resolution; coefficients and sums are small."""
    torch.manual_seed(0)
    block = MicroBlockB(16, 16, 3, dynamic=(0, 1, 0))  # hidden width 96
    x = torch.randn(2, 16, 20, 20, requires_grad=True)
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.update({t.data_ptr(): t.numel()}) or t, lambda t: t):
        block(x)
    planes = sum(numel for numel in kept.values() if numel > 5000) / (2 * 20 * 20)
    # Input, expanded, two lines, Shift-Max, compressed.
    assert planes == 16 + 96 + 96 + 96 + 96 + 16


def test_the_number_of_threads_does_not_change_a_bit_of_training():
    results = []
    before = torch.get_num_threads()
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        backbone = MicroNet('m0')
        backbone.stem.vertical.conv.weight.requires_grad_(False)  # PyTorch's convolution is not as strict
        backbone(torch.rand(2, 3, 70, 66))[-1].square().sum().backward()
        results.append({name: p.grad for name, p in backbone.named_parameters() if p.grad is not None})
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(other[name], gradient) for name, gradient in results[0].items()
               if '.conv.' in name)


def test_hooks_of_inner_layers_are_called():
    block = MicroBlockB(16, 16, 3)
    x = torch.randn(2, 16, 5, 5)
    seen = []
    handle = block.expand.conv.register_forward_hook(lambda module, args, output: seen.append(output.shape))
    hooked = block.eval()(x)
    handle.remove()
    torch.testing.assert_close(hooked, block(x))
    assert seen == [(2, 96, 5, 5)]


def test_pruned_weights_stay_pruned():
    """Pruning computes the weight in a hook before every call."""
    block = MicroBlockB(16, 16, 3).train()
    prune.random_unstructured(block.compress.conv, 'weight', 0.5)
    optimizer = torch.optim.SGD(block.parameters(), lr=1e-3)
    block(torch.randn(2, 16, 5, 5)).square().sum().backward()
    optimizer.step()
    x = torch.randn(2, 16, 5, 5)
    ours = block.eval()(x)
    with reference_only():
        torch.testing.assert_close(ours, block(x))


def test_bn_fused_into_the_convolutions_gives_the_same():
    torch.manual_seed(0)
    backbone = MicroNet('m0')
    for _ in range(3):
        backbone(torch.rand(4, 3, 64, 64))
    backbone.eval()
    x = torch.rand(2, 3, 64, 64)
    expected = backbone(x)[-1]
    fused = fuse_conv_bn(copy.deepcopy(backbone))
    assert not any(isinstance(module, nn.BatchNorm2d) for module in fused.modules())
    torch.testing.assert_close(fused(x)[-1], expected, rtol=1e-4, atol=1e-5)


def test_momentum_none_is_a_cumulative_mean():
    block = MicroBlockE(16, 48)
    block.expand.bn.momentum = None
    other = copy.deepcopy(block)
    for _ in range(3):
        x = torch.randn(4, 16, 5, 5) + 3
        block(x)
        with reference_only():
            other(x)
    torch.testing.assert_close(block.expand.bn.running_mean, other.expand.bn.running_mean)
    torch.testing.assert_close(block.expand.bn.running_var, other.expand.bn.running_var)


def test_one_value_a_channel_cannot_be_normalized():
    with pytest.raises(ValueError, match='more than one value per channel'):
        MicroBlockE(16, 48)(torch.randn(1, 16, 1, 1))


def test_nothing_is_deferred_where_others_look_or_count():
    x = torch.randn(1, 16, 4, 4)
    assert isinstance(defer(x), Deferred) and settle(defer(x)).data_ptr() == x.data_ptr()
    assert not isinstance(defer(x.half()), Deferred) and not isinstance(defer(x[:0]), Deferred)
    with reference_only():
        assert not isinstance(defer(x), Deferred)
    with torch.autocast('cpu', torch.bfloat16):
        assert not isinstance(defer(x), Deferred)


def test_per_sample_gradients():
    """torch.func sees plain operations."""
    block = MicroBlockB(16, 16, 3).eval()
    parameters = dict(block.named_parameters())

    def loss(parameters, x):
        return torch.func.functional_call(block, (parameters, dict(block.named_buffers())), (x[None], )).square().sum()

    x = torch.randn(3, 16, 4, 4)
    found = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x)
    for i, sample in enumerate(x):
        expected = torch.autograd.grad(loss(parameters, sample), parameters['expand.conv.weight'])[0]
        torch.testing.assert_close(found['expand.conv.weight'][i], expected, rtol=1e-4, atol=1e-5)


def test_empty_batches_pass():
    backbone = MicroNet('m0').eval()
    assert backbone(torch.rand(0, 3, 64, 64))[-1].shape == (0, 384, 2, 2)


def test_a_second_activation_follows_the_first():
    x = torch.linspace(-2, 9, 12).view(1, 3, 2, 2)
    assert torch.equal(settle(Deferred(x).activated('relu6').activated('relu')), x.clamp(0, 6))
    assert torch.equal(settle(Deferred(x).activated('relu').activated('relu6')), x.clamp(0, 6))


@pytest.mark.parametrize('training', [True, False])
@pytest.mark.parametrize('change', ['a dilated convolution', 'BN without running statistics'])
def test_layers_of_another_kind_are_called(change, training):
    """In the place of those that a block was built with."""
    torch.manual_seed(0)
    block = MicroBlockB(16, 16, 3).double()
    if change == 'a dilated convolution':
        conv = block.depthwise.vertical.conv
        block.depthwise.vertical.conv = nn.Conv2d(conv.in_channels, conv.in_channels, (3, 1), padding=(1, 0),
                                                  dilation=(2, 1), groups=conv.in_channels, bias=False).double()
        block.shortcut = False  # two rows less come out
    else:
        block.compress.bn = nn.BatchNorm2d(16, track_running_stats=False).double()
    block.train(training)
    other = copy.deepcopy(block)
    x = torch.randn(2, 16, 9, 7, dtype=torch.double)
    found = block(x)
    with reference_only():
        torch.testing.assert_close(found, other(x))
