"""The Triton kernels against the formula: compiled where there is a GPU, elsewhere run by Triton's interpreter."""
import sys
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micronet_mm.ops import SHIFTS, reference_shift_max

triton = pytest.importorskip('triton')
tl = pytest.importorskip('triton.language')
GPU = torch.cuda.is_available()
# Triton decides to compile or to interpret a function when the function is defined. So it is told to interpret for as
# long as these are defined. Its own functions, imported before, PyTorch's, and processes that other tests start stay as
# they are.
with pytest.MonkeyPatch.context() as patch:
    if not GPU:
        patch.setenv('TRITON_INTERPRET', '1')
        patch.delitem(sys.modules, 'micronet_mm.ops.shift_max_triton', raising=False)  # the compiled ones, if imported
    kernels = import_module('micronet_mm.ops.shift_max_triton')

    @triton.jit
    def write_offsets(out, channel_stride, position_stride):
        first = tl.arange(0, 2)
        far = first + 65536
        tl.store(out + kernels.offsets(first, first, 2, 1), kernels.offsets(far, far, channel_stride, position_stride))


DEVICE = 'cuda' if GPU else 'cpu'
LAYOUTS = ['contiguous', 'channels_last', 'sliced']
tables = st.tuples(st.integers(1, 5), st.integers(1, 5))  # groups, channels per group


@pytest.fixture(autouse=True, scope='module')
def quick_sums():
    """The interpreter adds in Python, value by value, unless it is by Triton's own addition."""
    with pytest.MonkeyPatch.context() as patch:
        if not GPU:
            patch.setattr('triton.language.standard._sum_combine', kernels.add, raising=False)
        yield


def shift_max(x, a, groups, shift='grouped'):
    return kernels.TritonShiftMax.apply(x, a, groups, shift)


def arranged(x, layout):
    """The values of ``x`` in memory of another layout."""
    if layout == 'sliced':
        return torch.stack([x, x + 1], -1)[..., 0]
    return x.contiguous(memory_format=torch.channels_last if layout == 'channels_last' else torch.contiguous_format)


def arguments(shape, J, K, layout='contiguous', dtype=torch.float64):
    """Input, coefficients and gradient of the output; every second channel has two equal fusions."""
    generator = torch.Generator().manual_seed(shape[-1])
    x, weight = torch.randn(2, *shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)
    a = torch.randn(shape[0], K, J, shape[1], generator=generator, dtype=torch.float64).to(DEVICE, dtype)
    a[:, -1, :, ::2] = a[:, 0, :, ::2]
    return arranged(x, layout).requires_grad_(), a.requires_grad_(), weight


def gradients(function, x, a, weight, groups, shift='grouped'):
    y = function(x, a, groups, shift)
    return (y, *torch.autograd.grad(y, (x, a), weight))


def exact(x, a, weight, groups, shift='grouped'):
    """The formula in double precision."""
    x, a = (t.detach().double().requires_grad_() for t in (x, a))
    return gradients(reference_shift_max, x, a, weight.double(), groups, shift)


@pytest.mark.parametrize('K', [1, 2, 3])
@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_gradients_where_inputs_are_not_finite(value, K):
    """Those of the formula, NaN where it has NaN."""
    x, a, weight = arguments((1, 6, 3, 3), 2, K)
    x.data[0, 2, 1, 1] = value
    for ours, theirs in zip(gradients(shift_max, x, a, weight, 3), exact(x, a, weight, 3)):
        torch.testing.assert_close(ours, theirs, equal_nan=True)


@settings(max_examples=20)
@given(table=tables, J=st.integers(1, 3), K=st.integers(1, 3), shift=st.sampled_from(SHIFTS),
       samples=st.integers(1, 2), height=st.integers(1, 9), width=st.integers(1, 9), layout=st.sampled_from(LAYOUTS),
       dtype=st.sampled_from([torch.float32, torch.float64]))
def test_shift_max_is_the_formula(table, J, K, shift, samples, height, width, layout, dtype):
    """Of odd sizes, any strides, and ties."""
    x, a, weight = arguments((samples, table[0] * table[1], height, width), J, K, layout, dtype)
    ours = gradients(shift_max, x, a, weight, table[0], shift)
    for mine, other in zip(ours, gradients(reference_shift_max, x, a, weight, table[0], shift)):
        torch.testing.assert_close(mine, other)


def test_coefficients_of_all_samples_may_lie_in_one_place():
    """As those of static Shift-Max do."""
    x, a, weight = arguments((3, 6, 4, 5), 2, 2)
    one = a[:1].detach().requires_grad_()

    def expanded(function):
        y = function(x, one.expand_as(a), 3)
        return (y, *torch.autograd.grad(y, (x, one), weight))

    for ours, theirs in zip(expanded(shift_max), expanded(reference_shift_max)):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(('shape', 'layout'), [
    ((1, 6, 27, 21), 'contiguous'),  # 567 positions, more than a program takes
    ((2, 6, 7, 7), 'contiguous'),  # more channels than a program takes
    ((1, 34, 9, 8), 'channels_last'),
    ((3, 34, 1, 1), 'contiguous'),
])
@pytest.mark.parametrize('shift', SHIFTS)
def test_several_programs_make_one_result(shape, layout, shift):
    x, a, weight = arguments(shape, 2, 2, layout)
    block_c, block_s, _ = kernels.blocks(x)
    assert shape[1] > block_c or shape[2] * shape[3] > block_s
    for mine, other in zip(gradients(shift_max, x, a, weight, 2, shift), exact(x, a, weight, 2, shift)):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize('dtype', kernels.TYPES)
@pytest.mark.parametrize('layout', LAYOUTS)
@settings(max_examples=3)
@given(J=st.integers(1, 3), K=st.integers(1, 3), shift=st.sampled_from(SHIFTS), seed=st.integers(0, 99))
def test_small_numbers_come_out_exact_in_any_type(dtype, layout, J, K, shift, seed):
    """Nothing has to be rounded, not even the parts where two or three fusions are equal, as many are."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randint(-1, 2, (2, 6, 2, 3), generator=generator).to(DEVICE, dtype)
    a = torch.randint(-1, 2, (2, K, J, 6), generator=generator).to(DEVICE, dtype).requires_grad_()
    weight = 6 * torch.randint(-1, 2, x.shape, generator=generator).to(DEVICE, dtype)
    x = arranged(x, layout).requires_grad_()
    for mine, other in zip(gradients(shift_max, x, a, weight, 3, shift), exact(x, a, weight, 3, shift)):
        assert mine.dtype == dtype and torch.equal(mine.double(), other)


@pytest.mark.parametrize('dtype', [
    torch.float16,
    pytest.param(torch.bfloat16, marks=pytest.mark.skipif(not GPU, reason="Triton's interpreter rounds otherwise")),
])
def test_half_precision_rounds_once(dtype):
    x, a, weight = arguments((2, 8, 7, 7), 2, 2, dtype=dtype)
    step = torch.finfo(dtype).eps / 2
    for mine, other in zip(gradients(shift_max, x, a, weight, 4), exact(x, a, weight, 4)):
        assert mine.dtype == dtype
        torch.testing.assert_close(mine.double(), other, rtol=step, atol=2**-20 * other.abs().max().item())


@pytest.mark.parametrize('shift', SHIFTS)
@pytest.mark.parametrize(('J', 'K'), [(1, 1), (2, 2), (3, 3)])
def test_gradients_of_both_orders(shift, J, K):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 1, 2, dtype=torch.double, device=DEVICE, requires_grad=True)
    a = torch.randn(2, K, J, 6, dtype=torch.double, device=DEVICE, requires_grad=True)
    # Along random directions where the kernels are interpreted: along every axis takes minutes.
    fast = not GPU
    assert torch.autograd.gradcheck(lambda x, a: shift_max(x, a, 3, shift), (x, a), fast_mode=fast)
    assert torch.autograd.gradgradcheck(lambda x, a: shift_max(x, a, 3, shift), (x, a), fast_mode=fast)
    # Only one of the two is a variable.
    assert torch.autograd.gradgradcheck(lambda x: shift_max(x, a.detach(), 3, shift), (x, ), fast_mode=fast)
    assert torch.autograd.gradgradcheck(lambda a: shift_max(x.detach(), a, 3, shift), (a, ), fast_mode=fast)


@pytest.mark.parametrize(('J', 'K'), [(1, 2), (2, 1), (2, 2), (3, 3)])
def test_nan_stays_visible(J, K):
    """Whether it is the input's or that of any one of the fusions."""
    x, a = torch.ones(1, 2, 1, 3, device=DEVICE), torch.ones(1, K, J, 2, device=DEVICE)
    x[0, 0, 0, 1] = float('nan')
    assert shift_max(x, a, 2).isnan()[0, 1, 0].tolist() == [False, J > 1, False]
    assert shift_max(x, a, 2).isnan()[0, 0, 0].tolist() == [False, True, False]
    for k in range(K):
        a = torch.ones(1, K, J, 2, device=DEVICE)
        a[0, k, 0, 1] = float('nan')
        assert shift_max(torch.ones_like(x), a, 2).isnan()[0, :, 0].tolist() == [[False] * 3, [True] * 3]


def test_nothing_is_kept_but_input_and_coefficients():
    x, a, _ = arguments((2, 8, 7, 7), 2, 2, 'sliced')
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        shift_max(x, a, 4)
    assert {t.data_ptr() for t in kept} == {x.data_ptr(), a.data_ptr()} and len(kept) == 2


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_output_and_gradient_are_laid_out_as_the_input(layout):
    """However the gradient of the output is."""
    x, a, weight = arguments((2, 4, 3, 5), 2, 2)
    x = x.detach().to(memory_format=layout).requires_grad_()
    for other in (weight, weight.to(memory_format=torch.channels_last), weight[:, :, :1, :1].expand_as(weight)):
        ours = gradients(shift_max, x, a, other, 2)
        assert all(t.is_contiguous(memory_format=layout) for t in ours[:2])
        for mine, formula in zip(ours, exact(x, a, other, 2)):
            torch.testing.assert_close(mine, formula)


def test_offsets_may_need_64_bits():
    out = torch.empty(2, 2, dtype=torch.int64, device=DEVICE)
    write_offsets[(1, )](out, 2**20, 2**18)
    assert out.tolist() == [[(65536 + c) * 2**20 + (65536 + s) * 2**18 for s in range(2)] for c in range(2)]


@pytest.mark.parametrize('shape', [(0, 4, 3, 3), (2, 4, 0, 3)])
def test_an_empty_batch_has_empty_gradients(shape):
    x, a, weight = arguments(shape, 2, 2)
    for mine, other in zip(gradients(shift_max, x, a, weight, 2), gradients(reference_shift_max, x, a, weight, 2)):
        assert mine.shape == other.shape and torch.equal(mine, other)


@pytest.mark.parametrize('layout', LAYOUTS)
def test_the_same_arguments_give_the_same_bits(layout):
    x, a, weight = arguments((2, 6, 9, 8), 2, 2, layout, torch.float32)
    first = gradients(shift_max, x, a, weight, 3)
    for _ in range(50 if GPU else 1):
        assert all(torch.equal(p, q) for p, q in zip(first, gradients(shift_max, x, a, weight, 3)))
