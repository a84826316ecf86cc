"""Shuffle, roll and Shift-Max against their formulas, index by index and in double precision."""
import os

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mm import call

from micronet_mm.ops import (
    SHIFTS,
    channel_roll,
    channel_shuffle,
    line_conv,
    reference_only,
    reference_shift_max,
    shift_max,
)
from micronet_mm.ops.compiled import library
from micronet_mm.ops.convolution import reference_line_conv
from micronet_mm.ops.deferred import order_of
from micronet_mm.ops.shift_max_cpu import both_ways

tables = st.tuples(st.integers(1, 6), st.integers(1, 6))  # groups, channels per group


@given(tables)
def test_channel_shuffle_reads_the_table_by_columns(table):
    groups, width = table
    x = torch.arange(groups * width).view(1, -1, 1, 1)
    y = channel_shuffle(x, groups).flatten()
    assert y.tolist() == [p * width + q for q in range(width) for p in range(groups)]


@given(tables, st.integers(0, 4), st.sampled_from(SHIFTS))
def test_channel_roll_takes_the_partner(table, steps, shift):
    groups, width = table
    channels = groups * width
    y = channel_roll(torch.arange(channels).view(1, -1, 1, 1), groups, steps, shift).flatten().tolist()
    if shift == 'paper':  # Eq. 4, word for word
        assert y == [(i + steps * channels // groups) % channels for i in range(channels)]
    else:
        assert y == [(i // width + steps) % groups * width + (i % width + steps) % width for i in range(channels)]


def formula(x, coefficients, groups, shift):
    """Eq. 4 with a loop over every output."""
    samples, channels = x.shape[:2]
    partner = [channel_roll(torch.arange(channels).view(1, -1), groups, j, shift)[0].tolist()
               for j in range(coefficients.shape[2])]
    y = torch.empty_like(x)
    for n in range(samples):
        for i in range(channels):
            fusions = [sum(a[j, i] * x[n, partner[j][i]] for j in range(len(partner))) for a in coefficients[n]]
            y[n, i] = torch.stack(fusions).amax(0)
    return y


IMPLEMENTATIONS = [shift_max, reference_shift_max]


def test_a_machine_with_a_compiler_has_the_compiled_operators():
    assert library() is not None
    x = torch.rand(1, 4, 1, 1, requires_grad=True)
    assert 'CompiledShiftMax' in str(shift_max(x, torch.rand(1, 2, 2, 4), 2).grad_fn)


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@settings(max_examples=30)
@given(table=tables, J=st.integers(1, 3), K=st.integers(1, 3), shift=st.sampled_from(SHIFTS),
       samples=st.integers(0, 2), size=st.integers(1, 5))
def test_shift_max_is_equation_4(implementation, table, J, K, shift, samples, size):
    channels = table[0] * table[1]
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(samples, channels, size, size + 1, dtype=torch.double, generator=generator)
    a = torch.randn(samples, K, J, channels, dtype=torch.double, generator=generator)
    torch.testing.assert_close(implementation(x, a, table[0], shift), formula(x, a, table[0], shift))


@pytest.mark.parametrize('implementation', IMPLEMENTATIONS)
@pytest.mark.parametrize('shift', SHIFTS)
@pytest.mark.parametrize(('J', 'K'), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)])
def test_shift_max_gradients(implementation, shift, J, K):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, 2, dtype=torch.double, requires_grad=True)
    a = torch.randn(2, K, J, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, a: implementation(x, a, 3, shift), (x, a))
    assert torch.autograd.gradgradcheck(lambda x, a: implementation(x, a, 3, shift), (x, a))
    # Only one of the two is a variable.
    assert torch.autograd.gradgradcheck(lambda x: implementation(x, a.detach(), 3, shift), (x, ))


def gradients(function, x, a, groups, weight):
    y = function(x, a, groups)
    return (y, *torch.autograd.grad(y, (x, a), weight))


@settings(max_examples=40)
@given(table=tables, J=st.integers(1, 3), K=st.integers(1, 3), height=st.integers(1, 9), width=st.integers(1, 9),
       layout=st.sampled_from([torch.contiguous_format, torch.channels_last]), sliced=st.booleans())
def test_implementations_agree(table, J, K, height, width, layout, sliced):
    """Odd sizes, strides of any kind, and ties."""
    channels = table[0] * table[1]
    generator = torch.Generator().manual_seed(height * 10 + width)
    x = torch.randn(2, channels, height, 2 * width, generator=generator)
    x = x[..., ::2] if sliced else x
    x = x.to(memory_format=layout).requires_grad_()
    a = torch.randn(2, K, J, channels, generator=generator)
    a[:, -1, :, ::2] = a[:, 0, :, ::2]  # every second channel has two equal fusions
    a.requires_grad_()
    weight = torch.randn(x.shape, generator=generator).to(memory_format=layout)
    ours, theirs = (gradients(f, x, a, table[0], weight) for f in IMPLEMENTATIONS)
    for mine, other in zip(ours, theirs):
        torch.testing.assert_close(mine, other)


def test_the_number_of_threads_does_not_change_a_bit():
    torch.manual_seed(0)
    x, a = torch.randn(3, 12, 17, 5, requires_grad=True), torch.randn(3, 2, 2, 12, requires_grad=True)
    weight = torch.randn(x.shape)
    before = torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(gradients(shift_max, x, a, 4, weight))
    torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(p, q) for p, q in zip(results[0], other))


def test_bfloat16_rounds_once():
    torch.manual_seed(0)
    x, a = torch.randn(2, 8, 7, 7).bfloat16().requires_grad_(), torch.randn(2, 2, 2, 8).bfloat16().requires_grad_()
    weight = torch.randn(x.shape).bfloat16()
    ours = gradients(shift_max, x, a, 4, weight)
    exact = gradients(reference_shift_max, x.double().detach().requires_grad_(),
                      a.double().detach().requires_grad_(), 4, weight.double())
    for mine, other in zip(ours, exact):
        assert mine.dtype == torch.bfloat16
        largest = other.detach().abs().max().item()
        torch.testing.assert_close(mine.double(), other, rtol=2**-8, atol=2**-8 * largest)


def test_nothing_is_kept_but_input_and_coefficients():
    x, a = torch.randn(2, 8, 7, 7, requires_grad=True), torch.randn(2, 2, 2, 8, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        shift_max(x, a, 4)
    assert {t.data_ptr() for t in kept} == {x.data_ptr(), a.data_ptr()} and len(kept) == 2


def test_nan_stays_visible():
    x, a = torch.ones(1, 2, 1, 3), torch.ones(1, 2, 2, 2)
    x[0, 0, 0, 1] = float('nan')
    for implementation in IMPLEMENTATIONS:
        assert implementation(x, a, 2).isnan()[0, :, 0].tolist() == [[False, True, False]] * 2


def test_watched_operations_are_plain_ones():
    """Compilers, tracers and other kinds of tensors see the formula."""
    x, a = torch.rand(1, 4, 2, 2), torch.rand(1, 2, 2, 4)
    graph = torch.jit.trace(lambda x, a: shift_max(x, a, 2), (x, a)).graph
    assert 'aten::maximum' in str(graph) and 'PythonOp' not in str(graph)
    program = torch.export.export(Layer(), (x, a))
    torch.testing.assert_close(program.module()(x, a), shift_max(x, a, 2))
    assert shift_max(x.to('meta'), a.to('meta'), 2).shape == x.shape


class Layer(torch.nn.Module):

    def forward(self, x, a):
        return shift_max(x, a, 2)


def test_orders_of_channels_stay_on_the_cpu_whatever_the_default_device():
    """They are kept, and C++ reads them; the first network may be built on the meta device."""
    with torch.device('meta'):
        kept = (order_of(35, (5, )), *both_ways(35, 5, 3, 'grouped'))
    assert all(tensor.device.type == 'cpu' for tensor in kept)


LINES = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9),
                  st.sampled_from([3, 5, 7]), st.integers(1, 3), st.booleans())


@settings(max_examples=60)
@given(LINES, st.sampled_from([torch.contiguous_format, torch.channels_last]))
def test_line_conv_is_the_depthwise_convolution(line, layout):
    samples, channels, filters, height, width, kernel, stride, vertical = line
    generator = torch.Generator().manual_seed(height * 10 + width)
    x = torch.randn(samples, channels, height, width, dtype=torch.double, generator=generator)
    x = x.to(memory_format=layout).requires_grad_()
    shape = (kernel, 1) if vertical else (1, kernel)
    weight = torch.randn(channels * filters, 1, *shape, dtype=torch.double, generator=generator).requires_grad_()
    ours, theirs = line_conv(x, weight, stride), reference_line_conv(x, weight, stride)
    assert 'CompiledConv' in str(ours.grad_fn)
    torch.testing.assert_close(ours, theirs)
    upstream = torch.randn(ours.shape, dtype=torch.double, generator=generator)
    for mine, other in zip(*(torch.autograd.grad(y, (x, weight), upstream) for y in (ours, theirs))):
        torch.testing.assert_close(mine, other)


def test_line_conv_can_be_differentiated_twice():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5, dtype=torch.double, requires_grad=True)
    weight = torch.randn(6, 1, 1, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x, w: line_conv(x, w, 2), (x, weight))


def test_line_conv_does_not_depend_on_threads_and_keeps_its_arguments_only():
    torch.manual_seed(0)
    x, weight = torch.randn(3, 7, 9, 11, requires_grad=True), torch.randn(14, 1, 5, 1, requires_grad=True)
    before = torch.get_num_threads()
    results, kept = [], []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.data_ptr()) or t, lambda t: t):
            y = line_conv(x, weight)
        assert set(kept) == {x.data_ptr(), weight.data_ptr()}
        results.append((y, *torch.autograd.grad(y.square().sum(), (x, weight))))
    torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other))


def test_line_conv_leaves_the_rest_to_pytorch():
    x, weight = torch.rand(1, 2, 6, 6, requires_grad=True), torch.rand(2, 1, 1, 9)
    assert 'Compiled' not in str(line_conv(x, weight).grad_fn)  # a kernel of 9
    weight = torch.rand(2, 1, 1, 3)
    with reference_only():
        assert 'Compiled' not in str(line_conv(x, weight).grad_fn)
    with torch.autocast('cpu', torch.bfloat16):
        assert line_conv(x.bfloat16(), weight).dtype == torch.bfloat16  # of weights in float32
        assert line_conv(x, weight).dtype == torch.bfloat16  # as PyTorch's convolutions
    assert line_conv(x[:0], weight).shape == (0, 2, 6, 6)


def test_line_conv_of_a_weight_that_does_not_fit_is_pytorch_s_error():
    with pytest.raises(RuntimeError, match='expected input'):
        line_conv(torch.rand(1, 4, 6, 6), torch.rand(4, 2, 3, 1))


@pytest.mark.parametrize(('environment', 'reason'), [
    (dict(CXX='/no/such/compiler'), 'no C++ compiler was found (/no/such/compiler is not a program)'),
    (dict(CXX='false'), 'false failed: no message'),
    (dict(XDG_CACHE_HOME='/proc/nowhere'), '/proc/nowhere/micronet_mm cannot be written'),
])
def test_without_a_compiler_the_reference_works_with_one_warning(environment, reason, tmp_path):
    code = ("import torch; from micronet_mm.ops import shift_max\n"
            "x = torch.rand(1, 4, 2, 2)\n"
            "for _ in range(3): shift_max(x, torch.rand(1, 2, 2, 4), 2)")
    env = {**os.environ, 'XDG_CACHE_HOME': str(tmp_path), **environment}
    run = call('-c', code, env=env, apart=True)
    assert run.returncode == 0, run.stderr
    assert run.stderr.count('MicroNet uses the slower PyTorch implementation') == 1 and reason in run.stderr
    run = call('-c', code, env={**env, 'MICRONET_MM_REFERENCE': '1'}, apart=True)
    assert (run.returncode, run.stderr) == (0, '')


def test_unknown_shift_rule_is_refused():
    with pytest.raises(ValueError, match=r"shift='circular'.*grouped"):
        channel_roll(torch.rand(1, 4), 2, shift='circular')
