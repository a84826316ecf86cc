"""Weights of linear layers in 16 and 8 bits: how far they may be off, and what a file with them may do."""
import struct

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from released import ARCHS, expected, normal
from test_golden import network
from test_plan import VALUES, almost_right, changed, has_library, ran, refused_or_run, words_of
from torch import nn

from micronet_mm.deploy import switch_to_deploy
from micronet_mm.deploy.hook import SwitchToDeployHook
from micronet_mm.deploy.plan.compiling import compile_plan
from micronet_mm.deploy.plan.engine import OpenPlan
from micronet_mm.deploy.plan.linear import WEIGHTS, in_8_bits
from micronet_mm.deploy.plan.writing import BYTES
from micronet_mm.models import MicroNet
from micronet_mm.ops.compiled import VECTORS

runs_plans = pytest.mark.skipif(not has_library(), reason='there is nothing to run plans')


class Head(nn.Module):
    """A linear layer of means."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)

    def forward(self, x):
        return self.linear(x.mean((2, 3)))


def in_plan(model, x, weights):
    return OpenPlan(compile_plan(model, [x], weights).content())([x], 1)[0].flatten(1).detach()


# How exact


@runs_plans
@pytest.mark.filterwarnings('error:.* runs in PyTorch')
@pytest.mark.parametrize(('weights', 'least', 'most'), [('bfloat16', 1e-3, 0.05), ('int8', 0.03, 0.2)])
@pytest.mark.parametrize('arch', ARCHS)
def test_logits_change_by_as_much_as_the_type_says(arch, weights, least, most, converted, vectors):
    """Relative to the largest; docs/native.md says by how much. A wider type would change them by less."""
    model = network(arch, converted[arch])
    backbone, classifier = (switch_to_deploy(part.eval(), engine='native', weights=weights)
                            for part in (model['backbone'], model['head'].classifier))
    reference = torch.as_tensor(expected(arch)['logits_224_seed1'])
    with torch.no_grad():
        logits = classifier(backbone(normal(1, 2, 3, 224, 224))[-1])
    assert least < (logits - reference).abs().max() / reference.abs().max() < most
    assert ran(backbone) and ran(classifier)


@runs_plans
@given(inputs=st.integers(1, 40), outputs=st.integers(1, 150), seed=st.integers(0, 99),
       chosen=st.sampled_from([*VECTORS]))
def test_a_layer_in_int8_is_that_of_its_rounded_weights(inputs, outputs, seed, chosen):
    """Within what float32 rounds in a sum of so many products."""
    torch.manual_seed(seed)
    model, x = Head(inputs, outputs), normal(seed, 3, inputs, 1, 1)
    weight, bias = (each.detach().double() for each in (model.linear.weight.T, model.linear.bias))
    values, scale = (torch.from_numpy(each).double() for each in in_8_bits(weight.numpy()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MICRONET_PLAN_VECTORS', chosen)
        found = in_plan(model, x, 'int8').double()
    means = x.flatten(1).double()
    size = means.abs() @ (values * scale).abs() + bias.abs()
    assert ((found - (means @ (values * scale) + bias)).abs() <= (inputs + 4) * 2**-23 * size).all()


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=9),
              elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_weights_in_int8_are_within_half_a_scale(weight):
    """Of any size: zeros, and those that float32 hardly tells from them."""
    values, scale = in_8_bits(weight.astype(np.float64))
    assert values.dtype == np.int8 and scale.dtype == np.float32 and np.abs(values.astype(int)).max() <= 127
    assert scale.shape == weight.shape[1:] and np.isfinite(scale).all() and (scale > 0).all()
    error = np.abs(values * scale.astype(np.float64) - weight)
    assert (error <= scale * 0.5001).all() and not error[weight == 0].any()
    assert (np.abs(values).max(0) == 127)[np.abs(weight).max(0) > 1e-30].all()  # the largest takes all 8 bits


@runs_plans
@pytest.mark.parametrize('wrong', [float('nan'), float('inf'), -float('inf')])
def test_an_output_of_weights_that_are_not_finite_is_not_either(wrong):
    model, x = Head(5, 70), torch.ones(1, 5, 1, 1)
    with torch.no_grad():
        model.linear.weight[66, 2] = wrong
    assert [*torch.isfinite(in_plan(model, x, 'int8')[0]).logical_not().nonzero()] == [66]


# What is asked for


def test_there_are_three_types_of_weights():
    named = r"must be one of \('float32', 'bfloat16', 'int8'\)\.$"
    with pytest.raises(ValueError, match=f"^weights='int4' of engine='native' {named}"):
        switch_to_deploy(MicroNet('m0'), engine='native', weights='int4')
    with pytest.raises(ValueError, match=f"^weights='int4' of engine='native' {named}"):
        SwitchToDeployHook('native', 'int4')
    with pytest.raises(ValueError, match=f"^weights='int4' {named}"):
        compile_plan(Head(3, 4), [torch.ones(1, 3, 1, 1)], 'int4')


@pytest.mark.parametrize('weights', WEIGHTS[1:])
def test_pytorch_has_one(weights):
    with pytest.raises(ValueError, match=rf"^weights='{weights}' of engine='pytorch' must be one of \('float32',\)\.$"):
        switch_to_deploy(MicroNet('m0'), weights=weights)


# What a file may do


@pytest.fixture(scope='module', params=WEIGHTS)
def content(request):
    """A plan of one layer of 7 inputs and 70 outputs, in two tiles: its weights are the last of the file but biases."""
    torch.manual_seed(0)
    return compile_plan(Head(7, 70), [torch.ones(1, 7, 2, 2)], request.param).content()


@runs_plans
def test_a_layer_that_is_cut_off_is_refused(content):
    assert refused_or_run(content)
    assert not any(refused_or_run(content[:length]) for length in range(len(content)))


@runs_plans
def test_every_word_of_a_layer_may_be_any_other(content, vectors):
    runs = [refused_or_run(changed(content, word, bits)) for word in range(words_of(content)) for bits in VALUES]
    assert 0 < sum(runs) < len(runs) / 2


@runs_plans
def test_words_of_a_layer_that_are_almost_right(content):
    for mutant in almost_right(content, 2000):
        refused_or_run(mutant)


@runs_plans
def test_bytes_that_lie_outside_a_file_are_refused():
    """Four to a float: a tensor of them may end with the weights, and no further."""
    content = compile_plan(Head(7, 70), [torch.ones(1, 7, 2, 2)], 'int8').content()
    words = struct.unpack_from(f'<{words_of(content)}q', content, 8)
    kind = next(place for place in range(8, 8 + 5 * words[4], 5) if words[place] == BYTES)
    offset, bytes_, floats = words[kind + 1], words[kind + 2], words[3]
    assert bytes_ == 7 * 128 and offset + bytes_ // 4 <= floats
    last = floats - bytes_ // 4
    assert refused_or_run(changed(content, kind + 1, last))
    for place in (last + 16, floats, -16, last - 1):
        assert not refused_or_run(changed(content, kind + 1, place))
    for number in (bytes_ - 1, bytes_ + 1, bytes_ + 64, 4 * bytes_, 2**24):
        assert not refused_or_run(changed(content, kind + 2, number))
