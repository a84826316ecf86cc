"""What reaches C++: only what fits, only what is wanted, and numbers of every kind."""
import re
from itertools import product

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from mm import call
from test_deferred import CONVS, conv_arguments
from torch import nn

from micronet_mm.models import MicroBlockB
from micronet_mm.ops import (
    Deferred,
    conv_with_moments,
    line_conv,
    reference_only,
    reference_shift_max,
    settle,
    shift_max,
)
from micronet_mm.ops.convolution import CompiledConv, reference_conv
from micronet_mm.ops.cpp_function import CppFunction
from micronet_mm.ops.deferred import Settle, order_of, settled
from micronet_mm.ops.shift_max_cpu import CompiledShiftMax, both_ways, with_bias


def with_norm(norm):
    block = MicroBlockB(16, 16)
    block.compress.bn = norm
    return block


def partly_elsewhere():
    block = MicroBlockB(16, 32)
    block.compress.to('meta')
    return block


MISFITS = {
    'a block of other channels': lambda: MicroBlockB(16, 32).eval()(torch.rand(1, 24, 6, 6)),
    'filters that channels do not divide': lambda: line_conv(torch.rand(1, 4, 6, 6), torch.rand(6, 1, 3, 1)),
    'a weight of three dimensions': lambda: line_conv(torch.rand(1, 4, 6, 6), torch.rand(4, 1, 3)),
    'a stride of 0': lambda: line_conv(torch.rand(1, 4, 6, 6), torch.rand(4, 1, 3, 1), 0),
    'coefficients of other channels': lambda: shift_max(torch.rand(2, 4, 6, 6), torch.rand(2, 2, 2, 6), 2),
    'coefficients of more samples': lambda: shift_max(torch.rand(2, 4, 6, 6), torch.rand(3, 2, 2, 4), 2),
    'coefficients elsewhere': lambda: shift_max(torch.rand(2, 4, 6, 6), torch.rand(2, 2, 2, 4, device='meta'), 2),
    'groups that do not divide': lambda: shift_max(torch.rand(2, 4, 6, 6), torch.rand(2, 2, 2, 4), 3),
    'BN of other channels': lambda: with_norm(nn.BatchNorm2d(8)).eval()(torch.rand(1, 16, 6, 6)),
    'BN of another type': lambda: with_norm(nn.BatchNorm2d(16).double()).eval()(torch.rand(1, 16, 6, 6)),
    'a block partly elsewhere': lambda: partly_elsewhere().eval()(torch.rand(1, 16, 6, 6)),
    'pointwise of other channels': lambda: conv_with_moments(Deferred(torch.rand(1, 8, 6, 6)), torch.rand(4, 6, 1, 1)),
    'pointwise groups that do not divide':
        lambda: conv_with_moments(Deferred(torch.rand(1, 8, 6, 6)), torch.rand(6, 2, 1, 1), groups=4),
}


@pytest.mark.parametrize('what', MISFITS)
def test_what_does_not_fit_is_pytorch_s_error(what):
    with pytest.raises(RuntimeError) as ours:
        MISFITS[what]()
    with reference_only(), pytest.raises(type(ours.value), match=re.escape(str(ours.value))):
        MISFITS[what]()


def test_a_weight_on_the_meta_device_is_left_to_pytorch():
    """Which answers with a tensor of the right shape; the memory that it does not have is not read."""
    x, weight = torch.rand(1, 4, 6, 6), torch.rand(4, 1, 3, 1, device='meta', requires_grad=True)
    assert 'Compiled' not in str(line_conv(x, weight).grad_fn)


def test_coefficients_of_one_sample_serve_all():
    """As the formula takes them."""
    x, a = torch.rand(3, 4, 5, 5), torch.rand(1, 2, 2, 4)
    torch.testing.assert_close(shift_max(x, a, 2), reference_shift_max(x, a, 2))


def knock(place, wrong):
    door = CppFunction('settle_forward', 'raw=N*C*S scale?=C shift?=C order?=C:index shortcut?=N*C*S y=N*C*S', 'N C S',
                       clamps=True)
    tensors = [torch.rand(2, 3, 4), torch.rand(3), torch.rand(3), order_of(3, ()), None, torch.empty(2, 3, 4)]
    tensors[place] = wrong
    door(torch.float32, tensors, (2, 3, 4), (0, 6))


@pytest.mark.parametrize(('place', 'wrong', 'message'), [
    (0, torch.rand(2, 4, 5), r'needs raw as 24 values of torch\.float32, contiguous on the CPU; got \(2, 4, 5\)'),
    (0, None, 'needs raw .* got None'),
    (0, torch.rand(2, 3, 4).double(), 'needs raw .* got .* torch.float64'),
    (0, torch.rand(2, 4, 3).transpose(1, 2), r'needs raw .* strides \(12, 1, 3\)'),
    (0, torch.rand(2, 3, 4, device='meta'), 'needs raw .* on meta'),
    (0, torch.rand(2, 3, 4, dtype=torch.cfloat).conj().imag, 'needs raw'),
    (1, torch.rand(4), 'needs scale as 3 values'),
    (3, torch.arange(3).int(), r'needs order as 3 values of torch\.int64'),
    (5, torch.rand(2, 3, 5), 'needs y as 24 values'),
])
def test_the_door_lets_nothing_else_pass(place, wrong, message):
    with pytest.raises(RuntimeError, match=f'settle_forward {message}'):
        knock(place, wrong)


def test_without_assertions_it_stays_shut():
    run = call('-O', '-c', """
import mmengine.runner
print('begins')
import test_cpp_function, torch
from micronet_mm.models import MicroBlockB
for enter in (lambda: test_cpp_function.knock(1, torch.rand(4)),
              lambda: MicroBlockB(16, 32).eval()(torch.rand(1, 24, 6, 6))):
    try:
        enter()
    except RuntimeError as error:
        print(error)
""", cwd='tests', apart=True)
    if not run.stdout:
        pytest.skip('this PyTorch cannot itself be imported without assertions, as 2.6')
    _, settle, convolution = run.stdout.splitlines()
    assert settle.startswith('settle_forward needs scale as 3 values') and convolution.startswith('Given groups=')


# ---- Every operator, its reference, and arguments in double precision: tensors (None where optional), then settings.

def random(*shape):
    return torch.randn(shape, dtype=torch.double)


def operators():
    torch.manual_seed(0)
    line, pointwise = (random(4, 1, 3, 1), 1, 4), (random(6, 2, 1, 1), 1, 2)
    for name, (weight, stride, groups) in (('line', line), ('pointwise', pointwise)):
        for moments in (True, False):
            yield f'{name} {moments}', CompiledConv.apply, reference_conv, (
                random(2, 4, 5, 3), random(4), random(4), weight), (
                    'relu6', order_of(4, (2, )), stride, groups, moments)
    yield 'settle', Settle.apply, settled, (random(2, 4, 5, 3), random(4), random(4), random(2, 4, 5, 3)), (
        'relu', order_of(4, (2, )))
    for layout in (torch.contiguous_format, torch.channels_last):
        yield f'shift_max {layout}', CompiledShiftMax.apply, with_bias, (
            random(2, 4, 5, 3).to(memory_format=layout), random(2, 2, 2, 4), random(2, 2, 4)), (2, 'grouped')


OPERATORS = {name: rest for name, *rest in operators()}


@pytest.mark.parametrize('name', OPERATORS)
def test_gradients_nobody_needs_are_not_computed(name, monkeypatch):
    """For every choice of variables: theirs are right, and memory for no other is handed to C++."""
    ours, theirs, tensors, settings = OPERATORS[name]
    handed = []
    owners = {'gx': [0], 'ga': [1], 'gb': [2], 'g_scale': [1, 2], 'g_shift': [1, 2], 'g_w': [3]}
    whole = CppFunction.__call__

    def watched(self, dtype, given, *rest):
        if self.name.endswith('backward'):
            labels = [argument.name for argument in self.arguments]
            possible = {label for label in labels if label in owners}
            handed.append((possible, {label for label, tensor in zip(labels, given) if tensor is not None}))
        return whole(self, dtype, given, *rest)

    monkeypatch.setattr(CppFunction, '__call__', watched)
    for wanted in product([True, False], repeat=len(tensors)):
        if not any(wanted):
            continue
        variables = [tensor.clone().requires_grad_(wants) for tensor, wants in zip(tensors, wanted)]
        found, expected = ours(*variables, *settings), theirs(*variables, *settings)
        first, second = (y[0] if isinstance(y, tuple) else y for y in (found, expected))
        upstream = torch.randn_like(first)
        needed = [v for v in variables if v.requires_grad]
        handed.clear()
        for mine, other in zip(*(torch.autograd.grad(y, needed, upstream) for y in (first, second))):
            torch.testing.assert_close(mine, other)
        for possible, labels in handed:
            assert labels & possible == {label for label in possible if any(wanted[i] for i in owners[label])}, wanted
        assert handed or not any(wanted[:3])  # of the shortcut alone nothing is to be computed


@given(CONVS, st.sampled_from(['none', 'relu', 'relu6']), st.booleans(),
       st.sampled_from([float('nan'), float('inf'), -float('inf')]), st.integers(0, 10**6))
def test_gradients_of_convolutions_where_inputs_are_not_finite(conv, clamp, moments, value, place):
    assume(clamp != 'relu6' or value == value)  # PyTorch's own gradient depends on the place in memory there
    generator = torch.Generator().manual_seed(place)
    raw, weight, stride, groups = conv_arguments(conv, generator)
    scale, shift = torch.randn(2, raw.shape[1], dtype=torch.double, generator=generator).requires_grad_()
    raw.data.view(-1)[place % raw.numel()] = value
    compare((CompiledConv.apply, reference_conv), (raw, scale, shift, weight),
            (clamp, order_of(raw.shape[1], (2, )), stride, groups, moments), generator)


@given(st.integers(1, 3), st.integers(1, 3), st.sampled_from([torch.contiguous_format, torch.channels_last]),
       st.sampled_from([float('nan'), float('inf'), -float('inf')]), st.integers(0, 10**6))
def test_gradients_of_shift_max_where_inputs_are_not_finite(J, K, layout, value, place):
    generator = torch.Generator().manual_seed(place)
    x = torch.randn(2, 6, 3, 5, dtype=torch.double, generator=generator)
    x.view(-1)[place % x.numel()] = value
    a = torch.randn(2, K, J, 6, dtype=torch.double, generator=generator).requires_grad_()
    b = torch.randn(2, K, 6, dtype=torch.double, generator=generator).requires_grad_()
    compare((CompiledShiftMax.apply, with_bias), (x.to(memory_format=layout).requires_grad_(), a, b), (3, 'grouped'),
            generator)


@given(st.sampled_from(['none', 'relu', 'relu6']), st.sampled_from([float('nan'), float('inf'), -float('inf')]),
       st.integers(0, 10**6))
def test_gradients_of_settling_where_inputs_are_not_finite(clamp, value, place):
    assume(clamp != 'relu6' or value == value)
    generator = torch.Generator().manual_seed(place)
    raw, shortcut = torch.randn(2, 2, 4, 3, 5, dtype=torch.double, generator=generator)
    scale, shift = torch.randn(2, 4, dtype=torch.double, generator=generator).requires_grad_()
    raw.view(-1)[place % raw.numel()] = value
    compare((Settle.apply, settled), (raw.requires_grad_(), scale, shift, shortcut.requires_grad_()),
            (clamp, order_of(4, (2, ))), generator)


def compare(functions, variables, settings, generator):
    """Values and gradients, NaN where the reference has NaN."""
    outputs = [function(*variables, *settings) for function in functions]
    outputs = [y if isinstance(y, tuple) else (y, ) for y in outputs]
    upstream = [torch.randn(y.shape, dtype=torch.double, generator=generator) for y in outputs[0]]
    for mine, other in zip(*outputs):
        torch.testing.assert_close(mine, other, equal_nan=True)
    for mine, other in zip(*(torch.autograd.grad(y, variables, upstream) for y in outputs)):
        torch.testing.assert_close(mine, other, equal_nan=True)


def test_what_is_kept_serves_other_modes():
    """The order of channels and the partners are made once, here within inference mode."""
    order_of.cache_clear()
    both_ways.cache_clear()
    x, a = random(1, 4, 3, 3), random(1, 2, 2, 4)

    def network(x, a):
        return settle(Deferred(shift_max(x, a, 2)).shuffled((2, )))

    with torch.inference_mode():
        network(x, a)
    assert torch.autograd.gradgradcheck(network, (x.requires_grad_(), a.requires_grad_()))
