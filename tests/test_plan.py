"""Plans compute what the deploy form computes, touch their own memory alone, and step aside for whoever looks on."""
import copy
import pickle
import random
import struct
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mm import ROOT
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from released import ARCHS, expected, normal
from test_deploy import unsettled
from test_golden import network
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from micronet_mm.deploy import refresh_plans, switch_to_deploy
from micronet_mm.deploy.layers import DeployShiftMax, Permutation
from micronet_mm.deploy.plan import engine
from micronet_mm.deploy.plan.compiling import compile_plan
from micronet_mm.deploy.plan.engine import KEPT, NativeForward, OpenPlan
from micronet_mm.models import (
    MicroBlockA,
    MicroBlockB,
    MicroBlockC,
    MicroBlockE,
    MicroNet,
    MicroNetClassifier,
    MicroStem,
)
from micronet_mm.ops.compiled import VECTORS, BuildError, is_off, load

TOLERANCE = 1e-4  # of the largest output


def has_library():
    try:
        return not is_off() and bool(load(engine.PLAN))
    except (BuildError, OSError):
        return False


pytestmark = [pytest.mark.skipif(not has_library(), reason='there is nothing to run plans'),
              pytest.mark.filterwarnings('error:.* runs in PyTorch')]


def both(model):
    """What PyTorch runs, and what plans run."""
    model.eval()
    return switch_to_deploy(copy.deepcopy(model)), switch_to_deploy(copy.deepcopy(model), engine='native')


def forwards(model):
    return [module.forward for module in model.modules() if isinstance(module.__dict__.get('forward'), NativeForward)]


def ran(model):
    """Whether plans ran each of its native parts."""
    return bool(forwards(model)) and all(forward.plans and not forward.reason for forward in forwards(model))


def assert_close(ours, theirs, tolerance=TOLERANCE):
    ours, theirs = tree_leaves(ours), tree_leaves(theirs)
    assert [y.shape for y in ours] == [y.shape for y in theirs]
    for mine, other in zip(ours, theirs):
        assert (mine - other).abs().max() <= tolerance * other.abs().max()


def assert_same(model, *shapes, run=lambda model, x: model(x)):
    """Returns the native one."""
    theirs, ours = both(unsettled(model))
    for number, shape in enumerate(shapes):
        x = normal(number, *shape)
        with torch.no_grad():
            assert_close(run(ours, x), run(theirs, x))
    assert ran(ours)
    return ours


def m0():
    """A small network in its deploy form, and natively."""
    return both(unsettled(MicroNet('m0')))


# Fidelity


@pytest.mark.parametrize('arch', ['m0', 'm1', 'm2', 'm3'])
def test_backbones_at_all_stages(arch, vectors):
    assert_same(MicroNet(arch, out_indices=(0, 1, 2, 3)), (2, 3, 64, 96), (1, 3, 33, 47), (1, 3, 1, 1))


@pytest.mark.parametrize('arch', ['m0', 'm3'])
def test_backbone_and_classifier(arch, vectors):
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = MicroNet(arch)
            self.head = MicroNetClassifier(self.backbone.out_channels[-1], 40, 10)

        def forward(self, x):
            return self.head(self.backbone(x)[-1])

    assert_same(Classifier(), (2, 3, 64, 64), (1, 3, 40, 72))


@pytest.mark.parametrize('arch', ARCHS)
def test_released_networks(arch, converted, vectors):
    model = network(arch, converted[arch])
    backbone, classifier = (switch_to_deploy(part.eval(), engine='native')
                            for part in (model['backbone'], model['head'].classifier))
    with torch.no_grad():
        logits = classifier(backbone(normal(1, 2, 3, 224, 224))[-1])
    assert (logits - torch.as_tensor(expected(arch)['logits_224_seed1'])).abs().max() < 1e-3
    assert ran(backbone) and ran(classifier)


def built(name):
    cfg = Config.fromfile(ROOT / 'configs' / f'{name}.py')
    cfg.model.backbone.init_cfg = None
    DefaultScope.get_instance(f'plans of {name}', scope_name=cfg.default_scope)
    return MODELS.build(cfg.model)


@pytest.mark.parametrize('name', ['keypoint_micronet_m0', 'micro_det_m0'])
def test_whole_models(name, vectors):
    pytest.importorskip('mmpose' if 'keypoint' in name else 'mmdet')
    assert_same(built(name), (2, 3, 64, 96), (1, 3, 96, 64), run=lambda model, x: model(x, None, mode='tensor'))


def test_a_classification_model(vectors):
    pytest.importorskip('mmpretrain')
    assert_same(built('imagenet_micronet_m0'), (2, 3, 64, 64), run=lambda model, x: model(x, None, mode='tensor'))


def test_pixels_inside():
    theirs, ours = m0()
    for model in (theirs, ours):
        model.stem[0].take_pixels((120.0, 110.0, 100.0), (58.0, 57.0, 56.0))
    x = 255 * torch.rand(2, 3, 47, 64)
    with torch.no_grad():
        assert_close(ours(x), theirs(x))
    assert ran(ours)


# Sizes

SHIFT_MAX = st.fixed_dictionaries({}, optional=dict(J=st.sampled_from([1, 2]), K=st.sampled_from([1, 2]),
                                                    spatial=st.booleans()))
BLOCK = st.fixed_dictionaries(dict(
    kind=st.sampled_from([MicroBlockA, MicroBlockB, MicroBlockC, MicroBlockE]), out=st.sampled_from([8, 12, 16, 24]),
    kernel=st.sampled_from([3, 5, 7]), stride=st.sampled_from([1, 2]),
    expansion=st.sampled_from([(1, 2), (2, 2), (1, 6), (3, 1)]), dynamic=st.tuples(*[st.booleans()] * 3),
    groups=st.booleans(), shift_max=SHIFT_MAX))


def block_of(width, kind, out, kernel, stride, expansion, dynamic, groups, shift_max):
    """And how many channels it gives."""
    given = dict(dynamic=dynamic, shift_max=dict(init=((1, 0.5), (0.5, 1)), **shift_max))
    if kind is MicroBlockE:
        return kind(width, 2 * width, **given), 2 * width
    if groups:
        given |= dict(groups2=(2, 4))
    return kind(width, out, kernel, stride, expansion, **given), out


@settings(max_examples=60)
@given(blocks=st.lists(BLOCK, min_size=1, max_size=3), stem=st.booleans(), batch=st.integers(1, 3),
       threads=st.sampled_from([1, 2]), height=st.integers(1, 70), width=st.integers(1, 70),
       vectors=st.sampled_from([*VECTORS]))
def test_blocks_of_any_size(blocks, stem, batch, threads, height, width, vectors):
    channels, layers = (8, [MicroStem(3, (4, 2))]) if stem else (8, [])
    for block in blocks:
        layer, channels = block_of(channels, **block)
        layers.append(layer)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv('MICRONET_PLAN_VECTORS', vectors)
            assert_same(nn.Sequential(*layers), (batch, 3 if stem else 8, height, width))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize('stride', [1, 2])
@pytest.mark.parametrize('kernel', [3, 5, 7])
def test_rows_of_every_length(kernel, stride, vectors):
    """Below, at and beyond a vector, of one and of several to a vector."""
    theirs, ours = both(unsettled(MicroBlockA(4, 8, kernel, stride, dynamic=(False, True, False))))
    for width in (*range(1, 19), 31, 32, 33, 64, 65):
        x = normal(width, 1, 4, 3, width)
        with torch.no_grad():
            assert_close(ours(x), theirs(x))
    assert ran(ours)


def test_a_sum_is_done_while_a_convolution_is_written(vectors):
    class Shortcut(nn.Module):
        def forward(self, x):
            x = torch.relu(x)
            return self.conv(x) + x

    model = Shortcut()
    model.conv = nn.Conv2d(8, 8, 1, groups=2)
    steps = compile_plan(nn.Sequential(model), [normal(0, 1, 8, 9, 9)]).steps
    assert [step.name for step in steps] == ['load', 'elementwise', 'pointwise', 'store']
    assert_same(nn.Sequential(model), (2, 8, 9, 9))


@pytest.mark.parametrize('mode', ['nearest', 'bilinear'])
def test_enlargement_of_every_size(mode, vectors):
    theirs = nn.Upsample(scale_factor=2, mode=mode)
    ours = switch_to_deploy(copy.deepcopy(theirs), engine='native')
    for height in (1, 2, 5):
        for width in (*range(1, 19), 31, 32, 33):
            x = normal(width, 2, 3, height, width)
            assert_close(ours(x), theirs(x))
    assert ran(ours)


# What a file may do


class Everything(nn.Module):
    """A network that has every step."""

    def __init__(self):
        super().__init__()
        shift_max = dict(init=((1, 0.5), (0.5, 1)))
        self.stem = MicroStem(3, (2, 2))
        self.a = MicroBlockA(4, 4, 5, 1, shift_max=dict(shift_max, spatial=True))
        self.b = MicroBlockB(4, 8, 3, 2, shift_max=shift_max)
        self.up = nn.Upsample(scale_factor=2, mode='bilinear')
        self.head = MicroNetClassifier(8, 6, 5)

    def forward(self, x, y):
        x = self.up(self.b(self.a(self.stem(x)) + y))
        return x, self.head(x)


@pytest.fixture(scope='module')
def content():
    model = switch_to_deploy(unsettled(Everything()))
    return compile_plan(model, (normal(0, 1, 3, 11, 38), normal(1, 1, 4, 6, 19))).content()


def refused_or_run(content):
    """Whether it runs; if not, one line says why."""
    try:
        plan = OpenPlan(content)
    except ValueError as error:
        assert str(error).startswith('this is no plan that can be run: ') and '\n' not in str(error)
        return False
    plan([torch.ones(2, *shape) for shape in plan.inputs], 2)
    return True


def words_of(content):
    """How many of 64 bits a plan has behind its magic."""
    return struct.unpack_from('<q', content, 16)[0]


def changed(content, word, bits):
    return content[:8 + 8 * word] + struct.pack('<Q', bits % 2**64) + content[16 + 8 * word:]


def test_a_plan_has_every_step(content):
    plan = OpenPlan(content)
    assert [len(plan.inputs), len(plan.outputs)] == [2, 2] and refused_or_run(content)


def test_a_plan_that_is_cut_off_is_refused(content):
    head = 8 + 8 * words_of(content)
    for length in [*range(0, head, 3), head, *range(head, len(content), 997), len(content) - 1]:
        assert not refused_or_run(content[:length])


VALUES = [-1, 0, 1, 2, 3, 2**24, 2**31, 2**40, 2**62, 2**63, 2**64 - 2, 0x7FF8000000000000, 0x7FF0000000000000]


def test_every_word_of_a_plan_may_be_any_other(content, vectors):
    """Those of its weights are numbers alone, but for places."""
    runs = [refused_or_run(changed(content, word, bits)) for word in range(words_of(content))
            for bits in random.Random(word).sample(VALUES, 4)]
    assert 0 < sum(runs) < len(runs) / 2


def almost_right(content, count, below=80):
    """So many files in which a word or a few are one more, one less, what stands elsewhere, or a small number, such as
    a type or a place: most of what is asked of a plan holds."""
    chance = random.Random(0)
    words = struct.unpack_from(f'<{words_of(content)}q', content, 8)
    for _ in range(count):
        mutant = content
        for _ in range(chance.choice([1, 1, 2, 3])):
            word = chance.randrange(len(words))
            value = chance.choice([words[word] + chance.choice([-16, -1, 1, 16, 64]), 2 * words[word],
                                   chance.choice(words), chance.randrange(below)])
            mutant = changed(mutant, word, value)
        yield mutant


def test_words_that_are_almost_right(content):
    for mutant in almost_right(content, 2500):
        refused_or_run(mutant)


def test_places_beyond_a_map_are_refused(content):
    """And weights of any bits run."""
    chance, head, refused = random.Random(0), 8 + 8 * words_of(content), 0
    for at in range(head, len(content) - 3, 4 * 7):
        bits = struct.pack('<I', chance.choice([2**31, 2**32 - 1, 2**31 - 1, 0x7FC00000, 1000]))
        refused += not refused_or_run(content[:at] + bits + content[at + 4:])
    assert refused


def test_memory_that_nobody_needs_is_refused(content):
    needed = struct.unpack_from('<q', content, 8 + 16)[0]
    for floats in (needed - 16, needed + 16, 2**30, 2**32):
        assert not refused_or_run(changed(content, 2, floats))


def test_inputs_of_another_shape_or_number_are_refused(content):
    plan = OpenPlan(content)
    first, second = (torch.ones(2, *shape) for shape in plan.inputs)
    for inputs in ([first], [second, first], [first[..., :-1], second], [first, second[:1]]):
        with pytest.raises(ValueError, match=r'^this plan takes as many inputs of each of the shapes \['):
            plan(inputs, 1)


# Where PyTorch runs


def assert_falls_back(model, x, named, run=lambda model, x: model(x)):
    theirs, ours = both(unsettled(model))
    with torch.no_grad():
        expected = run(theirs, x)
        with pytest.warns(UserWarning, match=named) as told:
            ours_first = run(ours, x)
        with warnings.catch_warnings():
            warnings.simplefilter('error')
            second = run(ours, x)
    assert len([each for each in told if 'runs in PyTorch' in str(each.message)]) == 1
    for found in (ours_first, second):
        assert all(torch.equal(a, b) for a, b in zip(tree_leaves(found), tree_leaves(expected), strict=True))


def test_without_a_compiler(monkeypatch):
    def fail(wanted):
        raise BuildError('no C++ compiler was found')
    monkeypatch.setattr(engine, 'load', fail)
    engine.plan_library.cache_clear()
    assert_falls_back(MicroNet('m0'), normal(0, 1, 3, 32, 32), '^MicroNet runs in PyTorch: no C.. compiler was found')


def test_a_layer_without_native_code_is_named():
    dilated = nn.Sequential(MicroBlockA(4, 8), nn.Conv2d(8, 8, 3, padding=2, dilation=2))
    assert_falls_back(dilated, normal(0, 1, 4, 9, 9),
                      r'no native code for a convolution of \(3, 3\), stride \(1, 1\), dilation \(2, 2\), 1 groups')
    assert_falls_back(nn.Sequential(MicroBlockA(4, 8), nn.GELU()), normal(0, 1, 4, 9, 9), 'no native code for gelu')


class Writes(nn.Module):
    def forward(self, x):
        x = torch.relu(x)
        x[:, 0] = 1
        return x


class DropsOut(nn.Module):
    def forward(self, x):
        torch.manual_seed(0)
        return nn.functional.dropout(torch.relu(x), 0.5)


class Rounds(nn.Module):
    def forward(self, x):
        return torch.relu(x).to(torch.bfloat16)


@pytest.mark.parametrize(('model', 'named'), [(Writes(), '__setitem__'), (DropsOut(), 'dropout'), (Rounds(), 'to')])
def test_nothing_that_happens_to_a_map_is_passed_over(model, named):
    assert_falls_back(model, normal(0, 1, 4, 5, 6), f'no native code for {named}$')


def test_gradients():
    theirs, ours = m0()
    x = normal(0, 1, 3, 32, 32)
    gradients = []
    for model in (theirs, ours):
        given = x.clone().requires_grad_()
        model(given)[-1].square().sum().backward()
        gradients.append([given.grad, *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(gradients[0]) > 50
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    for parameter in ours.parameters():
        parameter.requires_grad_(False)
    assert ours(x)[-1].grad_fn is None and ran(ours)
    assert ours(x.clone().requires_grad_())[-1].grad_fn is not None


def runs_in_pytorch(context, x=None):
    """Within a context a native network gives what its deploy form gives, bit for bit, though it has a plan."""
    theirs, ours = m0()
    x = normal(0, 1, 3, 32, 32) if x is None else x
    with torch.no_grad():
        ours(normal(0, 1, 3, 32, 32))
        assert ran(ours)
        with context():
            result, expected = ours(x)[-1], theirs(x)[-1]
    assert result.dtype == expected.dtype and torch.equal(result, expected)


def test_autocast():
    runs_in_pytorch(lambda: torch.autocast('cpu', dtype=torch.bfloat16))


def test_a_mode_that_counts_sees_everything():
    theirs, ours = m0()
    counts = []
    with torch.no_grad():
        for model in (ours, theirs, ours):
            with FlopCounterMode(display=False) as counter:
                model(normal(0, 1, 3, 32, 32))
            counts.append(counter.get_total_flops())
            ours(normal(0, 1, 3, 32, 32))
    assert counts[0] == counts[1] == counts[2] > 0


def test_hooks_are_called_once_for_each_call():
    theirs, ours = m0()
    x = normal(0, 1, 3, 32, 32)
    for place in (lambda model: model, lambda model: model.stages[1][0]):
        seen = []

        def see(module, args, y, seen=seen):
            seen.append(y)

        handles = [place(model).register_forward_hook(see) for model in (theirs, ours)]
        with torch.no_grad():
            expected, *results = theirs(x), ours(x), ours(x)
        assert len(seen) == 3
        assert_close(seen[1], seen[0]), assert_close(seen[2], seen[0])
        for handle in handles:
            handle.remove()
        for result in results:
            assert_close(result, expected)
    assert ran(ours)


def test_hooks_of_all_modules():
    _, ours = m0()
    x, seen = normal(0, 1, 3, 32, 32), []
    with torch.no_grad():
        ours(x)
        handle = torch.nn.modules.module.register_module_forward_hook(lambda module, *_: seen.append(module))
        ours(x)
        handle.remove()
    assert {ours, *(m for m in ours.modules() if isinstance(m, (nn.Conv2d, Permutation, DeployShiftMax)))} <= {*seen}


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning')
def test_traced_captured_and_exported(tmp_path):
    onnxruntime = pytest.importorskip('onnxruntime')
    theirs, ours = m0()
    x, other = normal(0, 1, 3, 32, 32), normal(1, 1, 3, 32, 32)
    with torch.no_grad():
        ours(x)
        expected = theirs(other)[-1]
        assert_close(torch.jit.trace(ours, x)(other)[-1], expected)
        for strict in (False, True):
            program = torch.export.export(ours, (x, ), strict=strict)
            assert_close(program.module()(other)[-1], expected)
        torch.onnx.export(ours, (x, ), tmp_path / 'm0.onnx', dynamo=False)
    session = onnxruntime.InferenceSession(tmp_path / 'm0.onnx')
    assert_close(torch.from_numpy(session.run(None, {session.get_inputs()[0].name: other.numpy()})[-1]), expected)


def test_dropout_that_is_on():
    theirs, ours = both(unsettled(MicroNetClassifier(8, 16, 5, dropout=0.5)))
    x = normal(0, 2, 8, 4, 4)
    with torch.no_grad():
        assert_close(ours(x), theirs(x))
        for model in (ours, theirs):
            model.dropout.train()
        results = []
        for model in (ours, theirs):
            torch.manual_seed(0)
            results.append(model(x))
        assert torch.equal(*results)


# What becomes of it


@pytest.mark.parametrize('way', ['deepcopy', 'pickle'])
@pytest.mark.parametrize('first', [False, True])
def test_copies_are_networks_of_their_own(way, first):
    theirs, ours = m0()
    x = normal(0, 1, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(x)
        if first:
            ours(x)
        other = copy.deepcopy(ours) if way == 'deepcopy' else pickle.loads(pickle.dumps(ours))
        assert other.forward.network is other
        for parameter in ours.parameters():
            parameter.zero_()
        assert_close(other(x), expected)
    assert ran(other)


@pytest.mark.parametrize('assign', [False, True])
def test_weights_that_are_loaded_count(assign):
    """All of them, or those of a layer, or what is written into them."""
    _, ours = m0()
    other = switch_to_deploy(MicroNet('m0').eval())
    torch.manual_seed(1)
    for parameter in other.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = normal(0, 1, 3, 32, 32)
    with torch.no_grad():
        # No longer a stem of two convolutions: only what is one can be loaded into it.
        stem = ours.state_dict()
        other.load_state_dict({key: value * 1.5 for key, value in stem.items() if key.startswith('stem')}, strict=False)
        ours(x)
        ours.load_state_dict(copy.deepcopy(other.state_dict()), assign=assign)
        assert_close(ours(x), other(x))
        for model in (ours, other):
            layer = next(m for m in model.stages[0].modules() if isinstance(m, nn.Conv2d))
            layer.load_state_dict({key: value / 2 for key, value in layer.state_dict().items()})
        assert_close(ours(x), other(x))
        for model in (ours, other):
            next(model.stages[1].parameters()).mul_(2)
        assert_close(ours(x), other(x))
    assert ran(ours)


def test_the_reference_leaves_pytorch_alone(monkeypatch):
    monkeypatch.setenv('MICRONET_MM_REFERENCE', '1')
    _, ours = m0()
    assert not forwards(ours)


def test_no_such_engine():
    with pytest.raises(ValueError, match=r"^engine='x' of switch_to_deploy must be 'pytorch' or 'native'\.$"):
        switch_to_deploy(MicroNet('m0'), engine='x')
    with pytest.raises(ValueError, match=r"^engine='x' of switch_to_deploy must be"):
        MicroNet('m0').switch_to_deploy(engine='x')


# What comes in


def test_inputs_of_other_kinds():
    theirs, ours = m0()
    x = normal(0, 2, 3, 34, 36)
    with torch.no_grad():
        expected = theirs(x)
        for same in (x.contiguous(memory_format=torch.channels_last), x.mT.contiguous().mT,
                     x.repeat_interleave(2, 1)[:, ::2], x.flip(0)[[1, 0]], x.clone().requires_grad_()):
            assert_close(ours(same), expected)
        assert list(ours.forward.plans) == [((3, 34, 36), )]
        for model in (theirs, ours):
            assert [tuple(y.shape) for y in model(x[:0])] == [(0, *y.shape[1:]) for y in expected]
    with torch.inference_mode():
        assert_close(ours(x), expected)
    theirs, ours = theirs.double(), ours.double()
    with torch.no_grad():
        assert torch.equal(ours(x.double())[-1], theirs(x.double())[-1])


def test_what_pytorch_refuses_is_refused():
    theirs, ours = m0()
    for x in (normal(0, 1, 4, 32, 32), torch.zeros(1, 3, 0, 8)):
        for model in (theirs, ours, ours):
            with torch.no_grad(), pytest.raises(RuntimeError):
                model(x)
    with torch.no_grad():
        ours(normal(0, 1, 3, 32, 32))
    assert ran(ours)


def test_defaults_of_pytorch_do_not_matter():
    theirs, ours = m0()
    x = normal(0, 1, 3, 32, 32)
    with torch.no_grad():
        expected = theirs(x)
        ours(x)
        with torch.device('meta'):
            assert_close(ours(x), expected)
        torch.set_default_dtype(torch.float64)
        try:
            assert_close(ours(x), expected)
        finally:
            torch.set_default_dtype(torch.float32)


def test_maps_of_different_numbers():
    """Which PyTorch adds as it does."""
    class Sum(nn.Module):
        def forward(self, x, y):
            return torch.relu(x) + y

    ours = switch_to_deploy(Sum(), engine='native')
    x, y = normal(0, 3, 4, 5, 6), normal(1, 3, 4, 5, 6)
    assert torch.equal(ours(x, y), torch.relu(x) + y) and ran(ours)
    assert torch.equal(ours(x, y[:1]), torch.relu(x) + y[:1])
    assert torch.equal(ours(x, x), torch.relu(x) + x)
    assert torch.equal(ours(x, y=y), torch.relu(x) + y)


def test_more_sizes_than_plans_are_no_slower_than_pytorch():
    """A plan takes longer to make than PyTorch to run; a size that comes often gets one."""
    theirs, ours = both(unsettled(MicroBlockA(4, 8)))

    def run(width):
        x = normal(width, 1, 4, 3, width)
        assert_close(ours(x), theirs(x))
        return [key[0][2] for key in ours.forward.plans]

    with torch.no_grad(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for width in range(2, KEPT + 2):
            run(width)
        for _ in range(3):
            assert run(99) == run(98) == [*range(2, KEPT + 2)]
        assert run(99) == [*range(3, KEPT + 2), 99]
    assert [str(each.message) for each in caught] == [
        f'native code of DeployBlock is not used: it has plans for {KEPT} sizes of input, and making one takes longer '
        'than PyTorch; pad or resize inputs to fewer sizes.']


CHANGES = {
    'data written': lambda block: [p.data.mul_(2) for p in block.parameters()],
    'data replaced': lambda block: [setattr(p, 'data', p.data * 2) for p in block.parameters()],
    'numpy': lambda block: [p.detach().numpy().__imul__(2) for p in block.parameters()],
    'parameter replaced': lambda block: [
        setattr(module, name, nn.Parameter(p * 2, requires_grad=False)) for module in block.modules()
        for name, p in list(module._parameters.items()) if p is not None],
    'inner load, assigned': lambda block: [
        module.load_state_dict({name: value * 2 for name, value in module.state_dict().items()}, assign=True)
        for module in block.modules() if isinstance(module, nn.Conv2d)],
    'forward replaced': lambda block: setattr(block[1], 'forward', lambda x: x * 0.5),
    'vector': lambda block: nn.utils.vector_to_parameters(
        nn.utils.parameters_to_vector(block.parameters()) * 2, block.parameters()),
}


@pytest.mark.parametrize('change', CHANGES)
def test_what_becomes_of_a_network_is_seen(change):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)).requires_grad_(False)
    theirs, ours = both(network)
    x = normal(0, 1, 4, 6, 6)
    assert_close(ours(x), theirs(x))
    before = ours(x).clone()
    for model in (theirs, ours):
        CHANGES[change](model)
    assert_close(ours(x), theirs(x))
    assert not torch.allclose(ours(x), before)


def test_layers_that_are_exchanged_are_seen():
    theirs, ours = both(nn.Sequential(nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 4, 1)).requires_grad_(False))
    x, other = normal(0, 1, 4, 6, 6), nn.Conv2d(8, 4, 1).requires_grad_(False)
    assert_close(ours(x), theirs(x))
    theirs[2], ours[2] = other, copy.deepcopy(other)
    assert_close(ours(x), theirs(x))
    weights = {name: value * 3 for name, value in ours.state_dict().items()}
    assert_close(torch.func.functional_call(ours, weights, (x, )), torch.func.functional_call(theirs, weights, (x, )))
    assert_close(ours(x), theirs(x))


def test_what_cannot_be_seen_is_refreshed():
    theirs, ours = both(nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()).requires_grad_(False))
    x = normal(0, 1, 4, 6, 6)
    assert_close(ours(x), theirs(x))
    for model in (theirs, ours):
        model[0].weight.data[1] = 0
        model[0].stride = (2, 2)
    refresh_plans(ours)
    assert_close(ours(x), theirs(x))


def test_what_is_not_run_natively_is_said_once():
    _, ours = both(nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU()))
    x = normal(0, 1, 4, 6, 6)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        for _ in range(2):
            ours(x)
            with torch.no_grad(), torch.autocast('cpu', torch.bfloat16):
                ours(x)
    assert [str(each.message).partition('not used: ')[2] for each in caught] == [
        'gradients are asked for; call the network within torch.no_grad().',
        'autocast is on; leave it out, native code computes in float32.']


# Threads


def test_several_threads_call_one_network():
    theirs, ours = m0()
    inputs = [normal(number, 1 + number % 2, 3, 32, 32 + 8 * (number % 3)) for number in range(12)]
    with torch.no_grad():
        expected = [theirs(x) for x in inputs]

    def run(x):
        with torch.no_grad():
            return ours(x)

    with ThreadPoolExecutor(4) as pool:
        for result, other in zip(pool.map(run, inputs), expected):
            assert_close(result, other)
    assert ran(ours) and len(ours.forward.plans) == 3


@pytest.mark.parametrize('shape', [(8, 3, 48, 40), (1, 3, 1024, 1024)], ids=['of-images', 'of-one-image'])
def test_threads_do_not_change_a_bit(vectors, shape):
    _, ours = m0()
    x = normal(0, *shape)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            with torch.no_grad():
                results.append(ours(x))
    finally:
        torch.set_num_threads(before)
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0]))
