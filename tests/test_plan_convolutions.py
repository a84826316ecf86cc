"""Plans have steps for convolutions over channels and places, and for what stands between them in necks and heads."""
import random

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from released import normal
from test_deploy import unsettled
from test_plan import (
    VALUES,
    almost_right,
    assert_close,
    assert_falls_back,
    assert_same,
    both,
    built,
    changed,
    forwards,
    pytestmark,  # noqa: F401
    ran,
    refused_or_run,
    words_of,
)
from torch import nn

from micronet_mm.deploy import switch_to_deploy
from micronet_mm.deploy.layers import Permutation
from micronet_mm.deploy.plan.compiling import compile_plan
from micronet_mm.deploy.plan.engine import OpenPlan
from micronet_mm.deploy.plan.writing import FLOATS
from micronet_mm.layers import DynamicShiftMax
from micronet_mm.ops.compiled import VECTORS

EPSILON = 2.0**-24  # what rounding to float32 changes at most, of a value


def steps_of(model, *inputs):
    return [step.name for step in compile_plan(model.eval(), inputs).steps]


def run(model, *inputs):
    """By a plan."""
    return OpenPlan(compile_plan(model.eval(), inputs).content())(inputs, 1)


def exact_and_bound(conv, x):
    """In double precision, and how far a sum of so many summands in float32, in any order, may be from that."""
    x, weight = x.double(), conv.weight.double()
    bias = torch.zeros(len(weight)) if conv.bias is None else conv.bias
    arguments = conv.stride, conv.padding, conv.dilation, conv.groups
    magnitude = F.conv2d(x.abs(), weight.abs(), bias.double().abs(), *arguments)
    return F.conv2d(x, weight, bias.double(), *arguments), (weight[0].numel() + 3) * EPSILON * magnitude


@st.composite
def convolutions(draw):
    """A convolution, and a size of its input that gives an output."""
    kernel, stride = draw(st.tuples(*[st.integers(1, 7)] * 2)), draw(st.tuples(*[st.integers(1, 2)] * 2))
    padding = draw(st.one_of(st.tuples(*[st.integers(0, 4)] * 2), st.just('valid'),
                             *[st.just('same')] * (stride == (1, 1))))
    zeros = padding if isinstance(padding, tuple) else (0, 0)
    height, width = (draw(st.integers(max(1, k - 2 * zero), most)) for k, zero, most in zip(kernel, zeros, (20, 70)))
    groups = draw(st.sampled_from([1, 1, 2, 3, 8]))
    inputs, outputs = (groups * draw(st.integers(1, most)) for most in (9, 27))
    torch.manual_seed(draw(st.integers(0, 9)))
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=draw(st.booleans())), height, width


@settings(max_examples=150)
@given(given=convolutions(), batch=st.integers(1, 3), vectors=st.sampled_from([*VECTORS]),
       behind=st.sampled_from([nn.Identity(), nn.ReLU(), nn.ReLU6(), nn.ReLU(inplace=True)]))
def test_convolutions_of_any_size(given, batch, vectors, behind):
    conv, height, width = given
    x = normal(height, batch, conv.in_channels, height, width)
    with pytest.MonkeyPatch.context() as patch, torch.no_grad():
        patch.setenv('MICRONET_PLAN_VECTORS', vectors)
        found, = run(nn.Sequential(conv, behind), x)
        exact, bound = exact_and_bound(conv, x)
        assert found.shape == exact.shape
        assert ((found - behind(exact)).abs() <= bound).all()


@pytest.mark.parametrize(('inputs', 'kernel', 'stride', 'groups'), [(300, 3, 1, 1), (300, 5, 2, 1), (600, 3, 2, 2),
                                                                   (600, 1, 2, 1), (300, 1, 1, 1)])
def test_maps_that_do_not_fit_into_the_cache(inputs, kernel, stride, groups, vectors):
    """Are computed strip by strip."""
    conv = nn.Conv2d(inputs, 14, kernel, stride, kernel // 2, groups=groups)
    x = normal(0, 1, inputs, 37, 41)
    with torch.no_grad():
        found, = run(conv, x)
        exact, bound = exact_and_bound(conv, x)
        assert ((found - exact).abs() <= bound).all()


def test_a_mean_is_that_of_all_strips(vectors):
    model = nn.Sequential(nn.Conv2d(300, 16, 1), DynamicShiftMax(16, 4, init=((1, 0.5), (0.5, 1))))
    assert 'pool' not in steps_of(switch_to_deploy(unsettled(model)), normal(0, 1, 300, 41, 37))
    assert_same(model, (2, 300, 41, 37))


def test_what_is_read_in_another_order_or_through_shift_max(vectors):
    index = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    assert_same(nn.Sequential(Permutation(index), nn.Conv2d(12, 9, 3, groups=3)), (2, 12, 9, 10))
    assert_same(nn.Sequential(DynamicShiftMax(12, 4, init=((1, 0.5), (0.5, 1))), nn.Conv2d(12, 9, 3)), (2, 12, 9, 10))


class Behind(nn.Module):
    """A convolution, and something behind it that gets its input, too."""

    def __init__(self, function):
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 3, padding=1)
        self.function = function

    def forward(self, x):
        x = torch.relu(x)
        return self.function(self.conv(x), x)


def added_in_place(y, x):
    y += x
    return y


def clamped_in_place(y, x):
    other = y.detach()
    F.relu(y, inplace=True)
    return other + x


@pytest.mark.parametrize(('function', 'steps'), [
    (lambda y, x: y + x, ['convolution']),
    (added_in_place, ['convolution']),
    (lambda y, x: torch.relu(y), ['convolution']),
    (lambda y, x: torch.relu(y) + x, ['convolution', 'elementwise']),
    (clamped_in_place, ['convolution', 'elementwise']),
    (lambda y, x: torch.relu(y) + y, ['convolution', 'elementwise', 'elementwise']),
    (lambda y, x: y + y, ['convolution', 'elementwise']),
])
def test_what_is_done_while_a_convolution_is_written(function, steps, vectors):
    assert steps_of(Behind(function), normal(0, 1, 6, 9, 7)) == ['load', 'elementwise', *steps, 'store']
    assert_same(nn.Sequential(Behind(function)), (2, 6, 9, 7), (1, 6, 17, 40))


def test_levels_share_weights():
    class Head(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(8, 8, 3)

        def forward(self, *levels):
            return tuple(self.conv(x) for x in levels)

    plan = compile_plan(Head(), [normal(0, 1, 8, size, size) for size in (9, 5, 3)])
    assert len({argument for step in plan.steps for argument in step.arguments
                if getattr(argument, 'kind', None) == FLOATS}) == 2


@pytest.mark.parametrize('conv', [nn.Conv2d(4, 4, 3, dilation=2), nn.Conv2d(4, 4, 8), nn.Conv2d(4, 4, 3, stride=3),
                                  nn.Conv2d(4, 4, 3, padding=1, padding_mode='reflect')])
def test_other_convolutions_run_in_pytorch(conv):
    assert_falls_back(nn.Sequential(conv), normal(0, 1, 4, 9, 9), 'no native code for a convolution of')


# Other sizes of a map


class Resized(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize(('function', 'step'), [
    (lambda x: F.interpolate(x, size=(10, 14)), 'doubled'),
    (lambda x: F.interpolate(x, None, 2.0, 'nearest'), 'doubled'),
    (lambda x: F.interpolate(x, (10, 14), None, 'bilinear'), 'doubled'),
    (lambda x: F.interpolate(x, size=(9, 13)), 'picked'),
    (lambda x: F.interpolate(x, scale_factor=(2.3, 0.7), mode='nearest-exact'), 'picked'),
    (lambda x: F.interpolate(x, size=(5, 1)), 'picked'),
    (lambda x: F.max_pool2d(x, 1, stride=2), 'picked'),
    (lambda x: F.max_pool2d(x, (1, 1), (1, 3), ceil_mode=True), 'picked'),
    (nn.Upsample(size=(7, 8)), 'picked'),
    (nn.Upsample(scale_factor=2), 'doubled'),
])
def test_places_that_are_picked(function, step, vectors):
    x = normal(0, 2, 3, 5, 7)
    model = Resized(function)
    assert steps_of(model, x) == ['load', step, 'store']
    found, = run(model, x)
    assert_close(found, model(x), 1e-6)
    assert step == 'doubled' or torch.equal(found, model(x))


@pytest.mark.parametrize('function', [lambda x: F.interpolate(x, size=(9, 13), mode='bilinear'),
                                      lambda x: F.interpolate(x, None, 2, 'bilinear', True),
                                      lambda x: F.interpolate(x, None, 2, 'bilinear', antialias=True),
                                      lambda x: F.max_pool2d(x, 3, 2, 1)])
def test_other_resizing_runs_in_pytorch(function):
    assert_falls_back(Resized(function), normal(0, 1, 3, 5, 7), 'no native code for (interpolate|max_pool2d) from')


# What a file may do


class Pyramid(nn.Module):
    """Has every step that this file is about, in some of their kinds."""

    def __init__(self):
        super().__init__()
        self.lateral = nn.Conv2d(3, 5, (2, 3), (2, 1), (1, 2))
        self.out = nn.Conv2d(5, 26, 3, padding=1, bias=False)
        self.extra = nn.Conv2d(5, 10, 3, 2, 1, groups=5)

    def forward(self, x, y):
        x = self.lateral(x)
        x = x + F.interpolate(y, size=x.shape[2:])
        return F.max_pool2d(torch.relu(self.out(x)), 1, stride=2), self.extra(x)


@pytest.fixture(scope='module')
def content():
    torch.manual_seed(0)
    return compile_plan(Pyramid(), (normal(0, 1, 3, 11, 9), normal(1, 1, 5, 3, 5))).content()


def test_every_word_of_a_plan_may_be_any_other(content, vectors):
    runs = [refused_or_run(changed(content, word, bits)) for word in range(words_of(content))
            for bits in random.Random(word).sample(VALUES, 4)]
    assert refused_or_run(content) and 0 < sum(runs) < len(runs) / 2


def test_words_that_are_almost_right(content, vectors):
    for mutant in almost_right(content, 1500, below=10):
        refused_or_run(mutant)


def test_places_beyond_a_map_are_refused(content):
    """Weights of any bits run."""
    head, refused = 8 + 8 * words_of(content), 0
    for at in range(head, len(content) - 3, 4):
        refused += not refused_or_run(content[:at] + b'\x40\0\0\0' + content[at + 4:])
    assert refused == 6 + 11 + 3 + 6  # rows and columns of the one step, and of the other


# Necks and heads of MMLab


@pytest.mark.parametrize('name', ['retinanet_micronet_m3', 'faster_rcnn_micronet_m3'])
@pytest.mark.parametrize('size', [(64, 96), (75, 49)])
def test_necks_and_heads_of_detectors(name, size):
    """Of an odd size, maps are not enlarged twofold."""
    pytest.importorskip('mmdet')
    model = built(name)
    head = 'bbox_head' if name.startswith('retinanet') else 'rpn_head'
    for part in (model.neck, getattr(model, head)):
        part.init_weights()
    theirs, ours = both(unsettled(model))
    with torch.no_grad():
        results = [getattr(each, head)(each.extract_feat(normal(0, 2, 3, *size))) for each in (ours, theirs)]
    assert_close(*results)
    assert ran(ours) and len(forwards(ours)) == 3
