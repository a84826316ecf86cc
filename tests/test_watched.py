"""Whoever looks inside a block sees PyTorch's operations on tensors, and the values that they give."""
import copy
from contextlib import nullcontext

import pytest
import torch
from test_deferred import BLOCKS
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.modules.module import register_module_forward_hook, register_module_full_backward_hook
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from micronet_mm.layers import ChannelShuffle, DynamicShiftMax
from micronet_mm.models import MicroBlockA, MicroBlockB
from micronet_mm.ops import line_conv, must_use_reference, reference_only, shift_max

CHANNELS = {name: 3 if name == 'stem' else 8 if name.startswith('A') else 16 for name in BLOCKS}


@pytest.fixture(params=BLOCKS)
def block(request):
    """In double precision, with weights that no two layers share, and an input for it."""
    torch.manual_seed(0)
    block = BLOCKS[request.param]().double()
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    return block, torch.randn(2, CHANNELS[request.param], 6, 5, dtype=torch.double)


def seen_by_hooks(block, x, register):
    """What every call of a hook was given, by the module's name."""
    names = {module: name for name, module in block.named_modules()}
    seen = []
    handles = register(block, lambda module, *values: seen.append((names[module], values)))
    x = x.clone().requires_grad_()
    block(x).square().sum().backward()
    for handle in handles:
        handle.remove()
    return seen


REGISTER = {
    'forward': lambda block, hook: [m.register_forward_hook(hook) for m in block.modules()],
    'forward pre': lambda block, hook: [m.register_forward_pre_hook(hook) for m in block.modules()],
    'backward': lambda block, hook: [m.register_full_backward_hook(hook) for m in block.modules()],
    'backward pre': lambda block, hook: [m.register_full_backward_pre_hook(hook) for m in block.modules()],
    'global forward': lambda block, hook: [register_module_forward_hook(hook)],
    'global backward': lambda block, hook: [register_module_full_backward_hook(hook)],
}


@pytest.mark.parametrize('kind', REGISTER)
def test_hooks_get_what_they_get_without_cpp(block, kind):
    block, x = block
    ours = seen_by_hooks(copy.deepcopy(block), x, REGISTER[kind])
    with reference_only():
        theirs = seen_by_hooks(copy.deepcopy(block), x, REGISTER[kind])
    assert [name for name, _ in ours] == [name for name, _ in theirs]
    assert {name for name, _ in ours} >= {name for name, module in block.named_modules()
                                          if isinstance(module, (nn.Conv2d, nn.BatchNorm2d, nn.GroupNorm, nn.Linear))}
    for (name, mine), (_, other) in zip(ours, theirs):
        torch.testing.assert_close(mine, other, msg=lambda text, name=name: f'{name}: {text}')


def test_a_hook_on_one_layer_gets_tensors(block):
    """The others may go on as they do."""
    block, x = block
    block.eval()
    for name, module in block.named_modules():
        seen = []
        handle = module.register_forward_hook(lambda _, args, y, seen=seen: seen.append((*args, y)))
        for context in (nullcontext, reference_only):
            with context():
                block(x)
        handle.remove()
        ours, theirs = seen
        assert all(type(value) is torch.Tensor for value in ours), name
        torch.testing.assert_close(ours, theirs, msg=lambda text, name=name: f'{name}: {text}')


def forward_and_backward(block, x):
    x = x.clone().requires_grad_()
    y = block(x)
    y.square().sum().backward()
    return y


def test_modes_count_every_operation(block):
    block, x = block
    counts = []
    for context in (torch.enable_grad, reference_only):
        with context(), FlopCounterMode(display=False) as counter:
            forward_and_backward(copy.deepcopy(block), x)
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


def test_a_mode_that_comes_for_backward_alone_counts_it():
    torch.manual_seed(0)
    block, x = MicroBlockB(16, 16, 3), torch.randn(2, 16, 6, 5)
    counts = []
    for context in (torch.enable_grad, reference_only):
        y = block(x)
        with context(), FlopCounterMode(display=False) as counter:
            y.sum().backward()
        counts.append(counter.get_total_flops())
    assert counts[0] >= counts[1] > 0  # ours runs the convolutions once more, to differentiate them


def test_dual_numbers_have_tangents(block):
    block, x = block
    block.eval()
    tangent = torch.randn_like(x)
    with forward_ad.dual_level():
        found = forward_ad.unpack_dual(block(forward_ad.make_dual(x, tangent))).tangent
    with reference_only():
        _, expected = torch.func.jvp(block, (x, ), (tangent, ))
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize('function', [
    lambda x, w: line_conv(x, w[:, None, None, :3]),
    lambda x, w: shift_max(x, w.view(1, 2, 2, 4), 2),
    lambda x, w: MicroBlockB(4, 4, 3).double().eval()(x * w.sum()),
], ids=['line_conv', 'shift_max', 'block'])
def test_batched_gradients_are_those_of_a_loop(function):
    torch.manual_seed(0)
    x = torch.randn(1, 4, 3, 3, dtype=torch.double, requires_grad=True)
    w = torch.randn(4, 4, dtype=torch.double, requires_grad=True)
    y = function(x, w)
    upstream = torch.randn(5, *y.shape, dtype=torch.double)
    found = torch.autograd.grad(y, (x, w), upstream, is_grads_batched=True, retain_graph=True)
    for i in range(5):
        expected = torch.autograd.grad(y, (x, w), upstream[i], retain_graph=True)
        for batched, single in zip(found, expected):
            torch.testing.assert_close(batched[i], single)


def test_fake_tensors_and_tracers_see_convolutions(block):
    block, x = block
    with reference_only():
        expected = make_fx(block.eval())(x)
    found = make_fx(block)(x)
    assert [node.target for node in found.graph.nodes] == [node.target for node in expected.graph.nodes]
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert block(mode.from_tensor(x)).shape == block(x).shape


def test_a_network_built_of_fake_tensors_leaves_nothing_behind():
    with FakeTensorMode():
        assert MicroBlockB(20, 20, 3)(torch.rand(1, 20, 4, 4)).shape == (1, 20, 4, 4)
    block, x = MicroBlockB(20, 20, 3).eval(), torch.rand(1, 20, 4, 4)
    found = block(x)
    with reference_only():
        torch.testing.assert_close(found, block(x))


class Recorder(TorchFunctionMode):

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, function, types, arguments=(), keywords=None):
        self.seen.append(function)
        return function(*arguments, **(keywords or {}))


class Marked(torch.Tensor):
    """A tensor that keeps its kind through PyTorch's operations."""


def test_modes_of_functions_and_tensors_of_other_kinds_see_them(block):
    block, x = block
    with Recorder() as mode:
        block.eval()(x)
    assert torch.conv2d in mode.seen
    assert type(block(x.as_subclass(Marked))) is Marked
    with torch.device('cpu'):  # it looks at nothing but factories
        assert not must_use_reference(x)


def test_tensors_that_are_something_else_in_memory():
    """The imaginary part of a conjugate is minus what lies there."""
    x = torch.randn(1, 4, 3, 3, dtype=torch.cfloat).conj().imag
    assert x.is_neg()
    w = torch.randn(4, 1, 3, 1)
    torch.testing.assert_close(line_conv(x, w), line_conv(x.resolve_neg(), w))
    negative = torch.randn(4, 1, 3, 1, dtype=torch.cfloat).conj().imag
    x = torch.randn(1, 4, 3, 3)
    torch.testing.assert_close(line_conv(x, negative), line_conv(x, negative.resolve_neg()))


# ---- Other layers in the place of those a block was built with.


class Doubled(DynamicShiftMax):
    """Says something else in forward alone."""

    def forward(self, x):
        return 2 * super().forward(x)


class Reversed(ChannelShuffle):

    def forward(self, x):
        return x.flip(1)


def with_forward(layer, forward):
    layer.forward = forward
    return layer


SURGERY = {
    'an activation': ('act2', lambda layer: nn.ReLU6()),
    'a convolution': ('compress', lambda layer: nn.Conv2d(96, 16, 1)),
    'a chain of them': ('compress', lambda layer: nn.Sequential(nn.Conv2d(96, 16, 1), nn.BatchNorm2d(16), nn.ReLU())),
    'nothing': ('act3', lambda layer: nn.Identity()),
    'a subclass': ('act1', lambda layer: Doubled(96)),
    'another subclass': ('shuffle1', lambda layer: Reversed(4)),
    'a forward of its own': ('act2', lambda layer: with_forward(layer, torch.sigmoid)),
    'a convolution with a bias': ('expand', lambda layer: nn.Conv2d(16, 96, 1, groups=4)),
    'another normalization': ('depthwise.vertical.bn', lambda layer: nn.GroupNorm(4, 96)),
    'BN without parameters': ('depthwise.vertical.bn', lambda layer: nn.BatchNorm2d(96, affine=False)),
    'half precision inside': ('act2', lambda layer: with_forward(nn.ReLU(), lambda x: x.bfloat16().to(x.dtype))),
}


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('change', SURGERY)
def test_any_layer_may_stand_in_the_place_of_another(change, training):
    torch.manual_seed(0)
    block = MicroBlockB(16, 16, 3)
    name, make = SURGERY[change]
    parent, _, child = name.rpartition('.')
    setattr(block.get_submodule(parent), child, make(block.get_submodule(name)))
    block.double().train(training)
    other = copy.deepcopy(block)
    x = torch.randn(2, 16, 6, 5, dtype=torch.double)
    found = forward_and_backward(block, x)
    with reference_only():
        torch.testing.assert_close(found, forward_and_backward(other, x))
    for (key, mine), theirs in zip(block.named_parameters(), other.parameters()):
        torch.testing.assert_close(mine.grad, theirs.grad, msg=lambda text, key=key: f'{key}: {text}')


def test_a_compiled_layer_is_called():
    block, x = MicroBlockA(8, 8), torch.randn(2, 8, 6, 5)
    calls = []
    expected = block.eval()(x)
    block.compress.compile(backend=lambda graph, inputs: calls.append(graph) or graph.forward)
    torch.testing.assert_close(block(x), expected)
    assert calls
