"""Shuffle, roll and Shift-Max against their formulas, index by index and in double precision."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from micronet_mm.ops import SHIFTS, channel_roll, channel_shuffle, shift_max

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


@settings(max_examples=30, deadline=None)
@given(tables, st.integers(1, 3), st.integers(1, 3), st.sampled_from(SHIFTS), st.integers(0, 2), st.integers(1, 3))
def test_shift_max_is_equation_4(table, J, K, shift, samples, size):
    channels = table[0] * table[1]
    generator = torch.Generator().manual_seed(channels)
    x = torch.randn(samples, channels, size, size + 1, dtype=torch.double, generator=generator)
    a = torch.randn(samples, K, J, channels, dtype=torch.double, generator=generator)
    torch.testing.assert_close(shift_max(x, a, table[0], shift), formula(x, a, table[0], shift))


@pytest.mark.parametrize('shift', SHIFTS)
def test_shift_max_gradients(shift):
    torch.manual_seed(0)
    x = torch.randn(2, 6, 3, 2, dtype=torch.double, requires_grad=True)
    a = torch.randn(2, 2, 3, 6, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, a: shift_max(x, a, 3, shift), (x, a))
    assert torch.autograd.gradgradcheck(lambda x, a: shift_max(x, a, 3, shift), (x, a))


def test_unknown_shift_rule_is_refused():
    with pytest.raises(ValueError, match=r"shift='circular'.*grouped"):
        channel_roll(torch.rand(1, 4), 2, shift='circular')
