"""Shift-Max with learned coefficients: the same operator, with nothing of the input in its coefficients."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from toy import train, write_toy

from micronet_mm.analysis import count
from micronet_mm.layers import DynamicShiftMax, StaticShiftMax
from micronet_mm.models import MicroNet
from micronet_mm.ops import SHIFTS, channel_roll, reference_only, reference_shift_max, shift_max

SHAPES = dict(groups=st.integers(1, 4), width=st.integers(1, 4), J=st.integers(1, 3), K=st.integers(1, 3),
              shift=st.sampled_from(SHIFTS), samples=st.integers(1, 3))


def layer(groups, width, J, K, shift):
    torch.manual_seed(groups * width)
    module = StaticShiftMax(groups * width, groups, J, K, shift, init=((1, 0.5), (0, 0.5))).double()
    torch.nn.init.normal_(module.z, std=2)  # some of them beyond the clamp
    return module


@settings(max_examples=30)
@given(**SHAPES)
def test_it_is_the_formula(groups, width, J, K, shift, samples):
    module = layer(groups, width, J, K, shift)
    channels = groups * width
    x = torch.randn(samples, channels, 3, 2, dtype=torch.double)
    z = module.z.view(K, J, channels)
    a = 4 * (((z + 3) / 6).clamp(0, 1) - 0.5) + module.start
    fusions = [sum(a[k, j, :, None, None] * channel_roll(x, groups, j, shift) for j in range(J)) for k in range(K)]
    torch.testing.assert_close(module(x), torch.stack(fusions).amax(0))


@settings(max_examples=30)
@given(layout=st.sampled_from([torch.contiguous_format, torch.channels_last]), **SHAPES)
def test_implementations_agree(groups, width, J, K, shift, samples, layout):
    module = layer(groups, width, J, K, shift)
    x = torch.randn(samples, groups * width, 4, 5, dtype=torch.double).to(memory_format=layout).requires_grad_()
    weight = torch.randn(x.shape, dtype=torch.double)
    results = []
    for reference in (False, True):
        if reference:
            with reference_only():
                y = module(x)
        else:
            y = module(x)
            assert 'CompiledShiftMax' in str(y.grad_fn)
        results.append((y, *torch.autograd.grad(y, (x, module.z), weight)))
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize('shift', SHIFTS)
@pytest.mark.parametrize(('J', 'K'), [(1, 1), (2, 1), (2, 2), (3, 3)])
def test_gradients(J, K, shift):
    module = layer(3, 2, J, K, shift)
    x = torch.randn(2, 6, 3, 2, dtype=torch.double, requires_grad=True)

    def function(x, z):
        return torch.func.functional_call(module, dict(z=z), x)

    assert torch.autograd.gradcheck(function, (x, module.z))
    assert torch.autograd.gradgradcheck(function, (x, module.z))


def test_coefficients_for_all_samples_run_in_cpp():
    torch.manual_seed(0)
    x, a = torch.randn(3, 4, 5, 5, requires_grad=True), torch.randn(1, 2, 2, 4, requires_grad=True)
    ours, theirs = shift_max(x, a, 2), reference_shift_max(x, a, 2)
    assert 'CompiledShiftMax' in str(ours.grad_fn)
    for mine, other in zip(*(torch.autograd.grad(y.square().sum(), (x, a)) for y in (ours, theirs))):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize('training', [True, False])
def test_in_a_network_deferred_and_plain_agree(training):
    torch.manual_seed(0)
    network = MicroNet('m0', coefficients='static', spatial=True).double().train(training)
    layers = [m for m in network.modules() if isinstance(m, StaticShiftMax)]
    assert len(layers) == 15 and not any(isinstance(m, DynamicShiftMax) for m in network.modules())
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)
    results = []
    for reference in (False, True):
        network.zero_grad()
        with reference_only() if reference else torch.enable_grad():
            y = network(x)[-1]
        y.square().mean().backward()
        results.append([y, *(p.grad.clone() for p in network.parameters())])
    for ours, theirs in zip(*results):
        torch.testing.assert_close(ours, theirs)


def test_nothing_of_the_input_is_in_its_coefficients():
    module = StaticShiftMax(16, 4)
    x = torch.randn(2, 16, 5, 5)
    torch.testing.assert_close(module(3 * x), 3 * module(x))


def test_it_starts_near_the_identity_and_fusions_start_apart():
    torch.manual_seed(0)
    module, x = StaticShiftMax(24, init=((1, 1), (0, 0))), torch.randn(2, 24, 6, 6)
    y = module(x)
    assert (y - x).abs().max() < 0.1 * x.abs().max()
    y.sum().backward()
    first, second = module.z.grad.view(2, -1)
    assert not torch.equal(first, second)


def test_it_costs_j_k_an_element_and_no_squeeze():
    cost = count(StaticShiftMax(16, J=3, K=2), 10, 6, channels=16)
    assert cost.by_kind() == {'static Shift-Max': (3 * 2 * 16, 10 * 6 * 16 * 3 * 2)}


def test_scripted_and_in_half_precision():
    module, x = StaticShiftMax(16, 4, spatial=True).eval(), torch.randn(2, 16, 5, 5)
    torch.testing.assert_close(torch.jit.script(module)(x), module(x))
    with torch.autocast('cpu', torch.bfloat16):
        assert module(x.bfloat16()).dtype == torch.bfloat16


def test_a_training_moves_the_coefficients(tmp_path):
    config = write_toy(tmp_path, "model = dict(coefficients='static')\ntrain_cfg = dict(max_epochs=1)\n")
    run = train(tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    state = torch.load(config.parent / 'w' / 'epoch_1.pth')['state_dict']
    learned = [value for name, value in state.items() if name.endswith('.z')]
    assert len(learned) == 15 and all(value.isfinite().all() and value.abs().max() > 0.01 for value in learned)


def test_other_coefficients_are_refused():
    with pytest.raises(ValueError, match="coefficients='fixed' of MicroNet must be 'dynamic' or 'static'"):
        MicroNet('m0', coefficients='fixed')
