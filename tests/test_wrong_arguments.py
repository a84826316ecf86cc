"""Every argument of everything public, given wrongly, answers in one line with what was given and what is allowed.

The table has a row for each class and function, and in it each argument: what is allowed and what is not, or the
reason why nothing is asked of it here. What is public or registered with MMEngine and has no row fails the last tests.
"""
import inspect
from importlib import import_module
from importlib.util import find_spec
from math import inf, nan
from typing import NamedTuple

import numpy as np
import pytest
import torch
from mmengine import registry
from mmengine.registry import Registry
from torch import nn

import micronet_mm
from micronet_mm.checkpoint import (
    CheckpointError,
    check_fits,
    check_initial_weights,
    convert_checkpoint,
    read_weights,
)
from micronet_mm.checkpoint.publish import publish_checkpoint
from micronet_mm.models import MicroNet, MicroNetClassifier
from micronet_mm.models.lazy_models import LAZY_MODELS
from micronet_runtime import Classification


class Wrong(NamedTuple):
    """What is said to be allowed, and values that are not."""
    allowed: str
    values: tuple

    def but(self, *values):
        """The same, less these values, which are allowed as well."""
        return Wrong(self.allowed, tuple(value for value in self.values if value not in values))


TYPES = ('3', 'x', None, [3], {}, nan, inf)
COUNT = Wrong('must be a whole number of at least 1', (0, -1, 1.5, True, *TYPES))
NATURAL = Wrong('must be a whole number of at least 0', (-1, 1.5, True, *TYPES))
ODD = Wrong('must be an odd whole number', (0, 2, -3, 1.5, True, *TYPES))
NUMBER = Wrong('must be a number', (True, *TYPES))
POSITIVE = Wrong('must be a number above 0', (0, -0.5, True, *TYPES))
SHARE = Wrong('must be a number from 0 to 1', (-0.1, 1.1, True, *TYPES))
FLAG = Wrong('must be True or False', (2, -1, 0.5, 'yes', None, [True]))
TEXT = Wrong('must be a text', (3, None, ['x']))
PAIR = Wrong('must be a list of 2, each a whole number of at least 1', (2, (2, ), (2, 2, 2), (0, 2), ('a', 'b'), None))
COUNTS = Wrong('each a whole number of at least 1', (3, (), (0, 1), (8, -1), (8, 'x'), '88', None))
PAIRS = Wrong('a list of at least 1, each a list of 2', (2, (), (2, 2), ((2, 0), ), (('a', 'b'), ), None))
ACTIVATIONS = Wrong('a list of 3, each True or False', (True, (True, ), (True, 2, True), 'yes', ()))
GROUPS = Wrong('a list of 2, each a whole number of at least 1, or None for Eq. 3', (4, (4, ), (0, 4), (4, -1), '44'))
BUILT = Wrong("must be a dict with a 'type'", ('BN', 3, {}, dict(eps=1e-5), []))
SETTINGS = Wrong('must be a dict', ('BN', 3, []))
SHIFT = Wrong("must be 'grouped' or 'paper'", ('circular', 0, None, ['paper']))
STRIDE = Wrong('must be 16 or 32', (8, 0, -16, '32', None, 32.0))
INIT = Wrong('a list of at least 1, each a list of at least 1, each a number', (
    1, (), ((), ), (1, 0), ((1, 'x'), ), ((nan, ), ), None))
FILE = Wrong('must be the path of a file', (3, None, '', ['a.pth']))
MODULE = Wrong('must be a module', (None, 'm3', MicroNet))
TENSORS = Wrong('must be a dict of tensors by name', (None, 3, [], dict(a=1)))

# Nothing is asked here of what others own.
MMENGINE, HOST = "MMEngine's BaseModule reads it", 'what it inherits from mmdet, mmpose, mmpretrain or mmcv reads it'
IMAGES = 'pictures, whose shapes PyTorch compares'
ELSEWHERE = 'a file; see the tests of files below'

SHIFT_MAX = dict(channels=COUNT, groups=COUNT.but(None), J=COUNT, K=COUNT, shift=SHIFT, init=INIT, spatial=FLAG,
                 init_cfg=MMENGINE)
BLOCK = dict(in_channels=COUNT, out_channels=COUNT, groups1=GROUPS, dynamic=ACTIVATIONS, reduction=COUNT,
             shift_max=SETTINGS, norm_cfg=BUILT, init_cfg=MMENGINE)
MICRO_BLOCK = dict(BLOCK, kernel_size=ODD, stride=COUNT, expansion=PAIR, groups2=GROUPS)
HEATMAPS = dict(in_channels=COUNT, out_channels=COUNT, widths=COUNTS, strides=COUNTS, norm_cfg=BUILT, in_stride=COUNT,
                kwargs=HOST)
CLASSIFIER = dict(in_channels=COUNT, hidden_channels=COUNT, num_classes=COUNT, dropout=SHARE, init_cfg=MMENGINE)
WIDE = dict(in_channels=16, out_channels=16)
PICTURE = np.zeros((9, 9, 3), np.uint8)
LEVELS = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=5, scales_per_octave=1, strides=[8])
SESSION = dict(threads=Wrong('give a number from 1', (0, -1, 1.5, True, '3', [3], nan)), providers=Wrong(
    'CPUExecutionProvider', (['NPU'], [3], [None], 'NPU', 3)))
BATCH = Wrong('give a number from 1', (0, -1, 1.5, True, '3', [3], nan))
SCORE = Wrong('scores are from 0 to 1', (-0.1, 30, nan, True, '0.5', [0.5]))
EXPORTED = Wrong('name an exported ONNX file or plan', ('none.onnx', '.', 3))


class Exported(NamedTuple):
    """Stands for the path of a tiny exported model."""
    task: str



def row(**fields):
    """What a Row is for: to be read as part of an arch."""
    return MicroNet(dict(stem=(4, 2), rows=[dict(dict(kind='A', stride=2, channels=8, kernel=3, expansion=(2, 2)),
                                                 **fields)]))


def arch(**fields):
    rows = [dict(kind='A', stride=2, channels=8, kernel=3, expansion=(2, 2))]
    return MicroNet(dict(dict(stem=(4, 2), rows=rows), **fields))


# Name -> what it needs, and for each argument what is wrong.
TABLE = {
    'layers.Activation': (dict(), dict(kind=Wrong("must be 'relu' or 'relu6'", ('gelu', 6, None)))),
    'layers.Chain': (dict(layers={}), dict(layers=Wrong('must be a dict of modules by name', (None, [], dict(a=1))),
                                           shortcut=FLAG, init_cfg=MMENGINE)),
    'layers.ChannelRoll': (dict(groups=4), dict(groups=COUNT, steps=NATURAL, shift=SHIFT)),
    'layers.ChannelShuffle': (dict(), dict(groups=Wrong('must be a whole number of at least 1, or a list of any number',
                                                        (0, -1, True, 'x', None, (0, ), (2, 'x'))))),
    'layers.ConvNorm': (dict(WIDE, kernel_size=1), dict(
        in_channels=COUNT, out_channels=COUNT, kernel_size=COUNT, stride=COUNT, padding=NATURAL, groups=COUNT,
        conv_cfg=BUILT, norm_cfg=BUILT)),
    'layers.DynamicShiftMax': (dict(channels=8), dict(SHIFT_MAX, reduction=COUNT)),
    'layers.StaticShiftMax': (dict(channels=8), SHIFT_MAX),
    'layers.ShiftMax': (dict(channels=8), SHIFT_MAX),
    'layers.MicroFactorizedDepthwiseConv': (dict(in_channels=8), dict(
        in_channels=COUNT, expansion=PAIR, kernel_size=ODD, stride=COUNT, norm_cfg=BUILT, init_cfg=MMENGINE)),
    'layers.MicroFactorizedPointwiseConv': (dict(in_channels=8), dict(
        in_channels=COUNT, out_channels=COUNT.but(None), reduction=COUNT, groups=COUNT.but(None), norm_cfg=BUILT,
        init_cfg=MMENGINE)),
    'layers.SpatialAttention': (dict(channels=8), dict(channels=COUNT, temperature=POSITIVE, init_cfg=MMENGINE)),
    'layers.group_pointwise': (dict(WIDE, groups=4), dict(
        in_channels=COUNT, out_channels=COUNT, groups=COUNT, norm_cfg=BUILT)),
    'layers.make_divisible': (dict(value=9, divisor=4), dict(value=NUMBER, divisor=COUNT)),
    'layers.nearest_groups': (dict(WIDE, target=4), dict(in_channels=COUNT, out_channels=COUNT, target=POSITIVE)),
    'layers.num_groups': (WIDE, dict(in_channels=COUNT, out_channels=COUNT, scale=POSITIVE)),
    'models.MicroNet': (dict(), dict(
        arch=Wrong('m1_sharp', ('m9', 'M', '')), in_channels=COUNT, out_indices=Wrong(
            'stages 0 to 3', ((4, ), (0, 7), 4)), output_stride=STRIDE, frozen_stages=Wrong(
            'must be', (-2, 5, 1.5, True, '1', None)), norm_cfg=BUILT, norm_eval=FLAG, with_cp=FLAG, J=COUNT, K=COUNT,
        shift=SHIFT, dynamic=ACTIVATIONS, coefficients=Wrong("must be 'dynamic' or 'static'", ('learned', 1, None)),
        spatial=FLAG, width=POSITIVE, group_scale=POSITIVE, groups=COUNT.but(None), lite=Wrong(
            "must be 'nowhere' or 'everywhere', or None for the lower layers", ('low', 0, True)),
        last_channels=COUNT.but(None), init_cfg=MMENGINE)),
    'models.Arch': (dict(), dict(stem=PAIR, rows=Wrong('each a Row or a dict of its fields', (None, [], [3], 'A')),
                                 classifier=COUNT, init=INIT)),
    'models.Row': (dict(), dict(
        kind=Wrong("must be 'A', 'B', 'C' or 'E'", ('Z', 'a', 1, None)), stride=Wrong('must be 1 or 2', (0, 3, '2')),
        channels=COUNT, kernel=ODD.but(None), expansion=PAIR.but(None), groups1=GROUPS, groups2=GROUPS,
        dynamic=ACTIVATIONS, ratio=COUNT)),
    'models.MicroStem': (dict(in_channels=3, widths=(2, 2)), dict(
        in_channels=COUNT, widths=PAIR, norm_cfg=BUILT, init_cfg=MMENGINE)),
    'models.MicroBlockA': (WIDE, MICRO_BLOCK),
    'models.MicroBlockB': (WIDE, MICRO_BLOCK),
    'models.MicroBlockC': (WIDE, MICRO_BLOCK),
    'models.MicroBlockE': (WIDE, BLOCK),
    'models.MicroNetClassifier': (dict(in_channels=8, hidden_channels=8), CLASSIFIER),
    'models.MicroPAFPN': (dict(in_channels=(8, 8, 8), out_channels=8, block=dict(type='MicroBlockA')), dict(
        in_channels=COUNTS, out_channels=COUNT, block=BUILT, expansions=PAIRS, norm_cfg=BUILT, init_cfg=MMENGINE)),
    'models.SeparableBlock': (WIDE, dict(
        in_channels=COUNT, out_channels=COUNT, kernel_size=ODD, stride=COUNT, expansion=PAIR.but(None), norm_cfg=BUILT,
        act_cfg=BUILT)),
    'models.get_arch': (dict(), dict(arch=Wrong('arch', ('m9', 3, None, [])))),
    'models.InvertedResidualHeatmapHead': (WIDE, dict(HEATMAPS, kernel_size=ODD, expansion=COUNT)),
    'models.MicroHeatmapHead': (WIDE, dict(
        HEATMAPS, kernel_sizes=Wrong('each an odd whole number', (3, (), (4, 3, 3), None)), expansions=PAIRS,
        ratios=COUNTS, dynamic=ACTIVATIONS, spatial=FLAG, shift_max=SETTINGS)),
    'models.MicroDetHead': (dict(num_classes=3, in_channels=16, block=dict(type='MicroBlockA'),
                                 anchor_generator=LEVELS), dict(
        num_classes=COUNT, in_channels=COUNT, block=BUILT, feat_channels=COUNT.but(None), stacked_convs=NATURAL,
        norm_cfg=BUILT, init_cfg=MMENGINE, kwargs=HOST)),
    'models.MicroNetClsHead': (dict(in_channels=8, hidden_channels=8), dict(
        CLASSIFIER, loss=HOST, topk=HOST, cal_acc=HOST)),
    'models.MobileNetV2Narrow': (dict(), dict(width=POSITIVE, depth=POSITIVE, last_channels=COUNT, divisor=COUNT,
                                              kwargs=HOST)),
    'models.MobileNetV3Small': (dict(), dict(width=POSITIVE, divisor=COUNT, output_stride=STRIDE, kwargs=HOST)),
    'hooks.BrokenImageHook': (dict(), dict(max_share=SHARE, spare=NATURAL, interval=COUNT)),
    'hooks.CompileHook': (dict(), dict(modules=Wrong('must be a text, or a list', (3, None, [], [3])),
                                       options='of torch.compile, which says what it takes')),
    'hooks.DrawEachHook': (dict(hook=dict(type='A'), out_dir='x'), dict(hook=BUILT, out_dir=FILE)),
    'hooks.EpochSeedHook': (dict(), dict()),
    'hooks.FreezeNormHook': (dict(), dict(begin=SHARE)),
    'hooks.InvalidLossHook': (dict(), dict(interval=COUNT)),
    'hooks.LastBatchHook': (dict(), dict()),
    'hooks.NumKeypointsHook': (dict(), dict()),
    'hooks.PreemptionHook': (dict(), dict(signals=Wrong('such as SIGTERM or SIGUSR1', (
        ['SIGNOTHING'], [3], 'SIGTERM', [])))),
    'hooks.SafeCheckpointHook': (dict(), dict(kwargs="MMEngine's CheckpointHook reads them")),
    'hooks.ResumeConfigHook': (dict(), dict()),
    'hooks.WarmUpHook': (dict(), dict()),
    'optim_wrapper.Bf16OptimWrapper': (dict(), dict(
        optimizer="MMEngine's OptimWrapper reads it", accumulative_counts="MMEngine's OptimWrapper reads it",
        clip_grad="MMEngine's OptimWrapper reads it")),
    'datasets.LoadImageOrSkip': (dict(), dict(skip=FLAG, kwargs=HOST)),
    'datasets.write_figures': (dict(root='x'), dict(root=FILE, num_train=COUNT, num_val=COUNT, seed=NATURAL)),
    'deploy.switch_to_deploy': (dict(model=nn.ReLU()), dict(
        model=MODULE, engine=Wrong("must be 'pytorch' or 'native'", ('onnx', None, 3)),
        weights=Wrong("must be one of ('float32',)", ('int8', None, 3)))),
    'deploy.refresh_plans': (dict(model=nn.ReLU()), dict(model=MODULE)),
    'hub.list_models': (dict(), dict(pattern=TEXT)),
    'hub.list_pretrained': (dict(), dict(pattern=TEXT)),
    'hub.create_model': (dict(name='micronet_m0'), dict(
        name=Wrong('micronet_m0', ('micronet_m9', 'm0', '')), pretrained=Wrong('path of a checkpoint', (3, ['a'])),
        features_only=FLAG, out_indices=Wrong('features_only=True', (2, (0, 1))),
        kwargs='see the settings of create_model below')),
    'apis.find_poses': (dict(source=PICTURE, detector='a', detector_weights='a', pose='a',
                             pose_weights='a'), dict(
        source=ELSEWHERE, detector=FILE, detector_weights=FILE, pose=FILE, pose_weights=FILE, out_dir=FILE.but(None),
        person=NATURAL, box_threshold=SHARE, keypoint_threshold=SHARE, device=Wrong(
            "such as 'cpu' or 'cuda:0'", ('gpu', 'cuda:99', [])), checking='a context for errors, free',
        faults='a list that is filled')),
    'analysis.count': (dict(model=nn.Conv2d(3, 3, 1)), dict(
        model=MODULE, height=COUNT, width=COUNT, channels=COUNT, inputs=IMAGES)),
    'checkpoint.allow_named': (dict(), dict(names=Wrong('full names such as', (['a.b'], ['torch.nothing'])))),
    'checkpoint.allow_mmengine_checkpoints': (dict(), dict()),
    'checkpoint.check_fits': (dict(model=nn.ReLU(), path='x'), dict(model=MODULE, path=FILE)),
    'checkpoint.check_initial_weights': (dict(model=nn.ReLU()), dict(model=MODULE, load_from=FILE.but(None))),
    'checkpoint.convert_checkpoint': (dict(source='a', target='b'), dict(source=FILE, target=FILE)),
    'checkpoint.convert_state_dict': (dict(), dict(state_dict=TENSORS)),
    'checkpoint.key_map': (dict(), dict(arch=Wrong("must be 'm0', 'm1', 'm2' or 'm3'", ('m9', 3, None)))),
    'checkpoint.read_weights': (dict(), dict(path=FILE)),
    'checkpoint.released_as_ours': (dict(), dict(tensors=TENSORS)),
    'runtime.Model': (dict(path=Exported('detection')), dict(path=EXPORTED, **SESSION)),
    'runtime.Classifier': (dict(path=Exported('classification')), dict(path=EXPORTED, batch_size=BATCH, **SESSION)),
    'runtime.Detector': (dict(path=Exported('detection')), dict(
        path=EXPORTED, threshold=SCORE, batch_size=BATCH, **SESSION)),
    'runtime.PoseEstimator': (dict(path=Exported('keypoints')), dict(path=EXPORTED, batch_size=BATCH, **SESSION)),
    'runtime.PeopleAndPoses': (dict(detector_path=Exported('detection'), pose_path=Exported('keypoints')), dict(
        detector_path=EXPORTED, pose_path=EXPORTED, threshold=SCORE, batch_size=BATCH, **SESSION)),
    'runtime.draw': (dict(image=PICTURE, result=Classification('a', None, 0, 'a', 1.0, np.ones(1))), dict(
        image=Wrong('give', (3, None, np.zeros((9, 9)))), result=Wrong(
            'give a Classification, Detections or People', ('x', None, 3)), keypoint_threshold=SCORE)),
    'runtime.read': (dict(), dict(source=Wrong('give a path', (None, [3], True, 1.5)))),
}
HOSTS = {**{f'models.{name}': host for name, (_, host, _) in LAZY_MODELS.items()}, 'apis.find_poses': 'mmpose',
         **{name: 'onnxruntime' for name in TABLE if name.startswith('runtime.')}}
# What has no row, and why.
WITHOUT = {
    'layers.ScriptableModule': MMENGINE, 'models.SSDLiteHead': HOST, 'apis.PeopleInferencer': HOST,
    'analysis.Complexity': 'a result', 'analysis.Cost': 'a result', 'runtime.Classification': 'a result',
    'runtime.Detections': 'a result', 'runtime.People': 'a result', 'runtime.Person': 'a result',
    'runtime.Frame': 'a result', 'layers.LineConv2d': 'an nn.Conv2d, which PyTorch checks',
    'gloo.CpuDistributedDataParallel': "MMEngine's MMDistributedDataParallel, which the launcher makes",
}
# Where public names are; operators (micronet_mm.ops) run in inner loops on what layers have checked.
PLACES = dict(hub='micronet_mm', runtime='micronet_runtime', hooks='micronet_mm.engine.hooks',
              optim_wrapper='micronet_mm.engine.optim_wrapper', **{name: f'micronet_mm.{name}' for name in (
                  'layers', 'models', 'datasets', 'deploy', 'apis', 'analysis', 'checkpoint')})


def found(name):
    """A class or function of the table."""
    place, _, name = name.partition('.')
    return {'Row': row, 'Arch': arch}.get(name) or getattr(import_module(PLACES[place]), name)


@pytest.fixture(scope='session')
def exported(tmp_path_factory):
    """Paths of tiny exported models by task."""
    tiny_onnx = pytest.importorskip('tiny_onnx')
    folder = tmp_path_factory.mktemp('exported')
    return {task: tiny_onnx.write_model(folder / f'{task}.onnx', task) for task in tiny_onnx.GRAPHS}


def answer(call, *args, **kwargs):
    """The line with which a mistake is answered."""
    with pytest.raises((ValueError, TypeError, FileNotFoundError, CheckpointError)) as error:
        call(*args, **kwargs)
    assert '\n' not in str(error.value)
    return str(error.value)


def says(line, value):
    """Whether a line says what was given: the value, one that is in it, its shape or its type."""
    parts = value if isinstance(value, (list, tuple)) else ()
    words = [*map(repr, (value, *parts)), str(value), type(value).__name__, str(getattr(value, 'shape', value))]
    return any(' '.join(each.split())[:90] in line for each in words)


CASES = [(name, argument) for name, (_, arguments) in TABLE.items() for argument, wrong in arguments.items()
         if isinstance(wrong, Wrong)]


@pytest.mark.parametrize(('name', 'argument'), CASES, ids=str)
def test_a_wrong_argument_is_answered_in_one_line(name, argument, request):
    pytest.importorskip(HOSTS.get(name, 'torch'))
    needed, arguments = TABLE[name]
    files = request.getfixturevalue('exported') if name.startswith('runtime.') else {}
    needed = {key: files[value.task] if isinstance(value, Exported) else value for key, value in needed.items()}
    allowed, values = arguments[argument]
    for value in values:
        line = answer(found(name), **{**needed, argument: value})
        assert allowed in line and says(line, value), (value, line)


def public():
    """Names of all that is public, and of what is registered with MMEngine, but for errors."""
    for place, module in PLACES.items():
        if place == 'apis' and find_spec('mmpose') is None:
            continue
        content = import_module(module)
        hosted = [name for name, (_, host, _) in LAZY_MODELS.items() if find_spec(host)] if place == 'models' else []
        names = ['Bf16OptimWrapper'] if place == 'optim_wrapper' else [*content.__all__, *hosted]
        for name in names:
            kind = getattr(content, name)
            if callable(kind) and not (isinstance(kind, type) and issubclass(kind, Exception)):
                yield f'{place}.{name}'
    import micronet_mm.engine.gloo  # noqa: F401  which registers as well
    for each in vars(registry).values():
        for kind in each.module_dict.values() if isinstance(each, Registry) else ():
            if kind.__module__.startswith('micronet_mm.') and kind.__module__ != 'micronet_mm.models.lazy_models':
                parts = kind.__module__.split('.')
                place = next((part for part in parts if part in PLACES), parts[-1])
                yield f'{place}.{kind.__name__}'


def test_everything_public_has_a_row():
    assert {*public()} <= {*TABLE, *WITHOUT}


@pytest.mark.parametrize('name', TABLE)
def test_every_argument_has_a_row(name):
    pytest.importorskip(HOSTS.get(name, 'torch'))
    kind = getattr(import_module(PLACES[name.partition('.')[0]]), name.partition('.')[2])
    assert {*inspect.signature(kind).parameters} == {*TABLE[name][1]}


def test_an_argument_that_there_is_not_is_named():
    for call in (MicroNet, MicroNetClassifier):
        assert "unexpected keyword argument 'archh'" in answer(call, archh='m3')


# The settings of MicroNet that create_model takes as they are, and its own.
RENAMED = ('arch', 'in_channels', 'out_indices', 'with_cp', 'init_cfg')
SETTINGS_BY_NAME = {name: wrong for name, wrong in TABLE['models.MicroNet'][1].items() if name not in RENAMED} | dict(
    num_classes=NATURAL, in_chans=COUNT, drop_rate=SHARE, drop_path_rate=Wrong('leave it out', (0.1, 'x')),
    global_pool=Wrong('', ('max', 3, None)), in_channels=Wrong('num_classes, in_chans, drop_rate', (3, )))


@pytest.mark.parametrize('argument', SETTINGS_BY_NAME)
def test_settings_of_create_model(argument):
    allowed, values = SETTINGS_BY_NAME[argument]
    for value in values:
        line = answer(micronet_mm.create_model, 'micronet_m0', **{argument: value})
        assert allowed in line and (says(line, value) or argument in line), (value, line)


# What reads checkpoints, given the path of one.
READERS = {
    'create_model': lambda path: micronet_mm.create_model('micronet_m0', pretrained=path),
    'read_weights': read_weights,
    'convert_checkpoint': lambda path: convert_checkpoint(path, 'never.pth'),
    'publish_checkpoint': lambda path: publish_checkpoint(path, 'never.pth'),
    'check_fits': lambda path: check_fits(MicroNet('m0'), path),
    'load_from': lambda path: check_initial_weights(MicroNet('m0'), str(path)),
    'init_cfg': lambda path: check_initial_weights(
        MicroNet('m0', init_cfg=dict(type='Pretrained', checkpoint=str(path), prefix='backbone.'))),
}


@pytest.mark.parametrize('reader', READERS)
def test_files_that_are_no_checkpoint(reader, converted, tmp_path):
    whole = converted['m0'].read_bytes()
    (tmp_path / 'folder.pth').mkdir()
    (tmp_path / 'empty.pth').touch()
    (tmp_path / 'text.pth').write_text('no checkpoint')
    (tmp_path / 'cut.pth').write_bytes(whole[:len(whole) // 2])
    torch.save([1, 2], tmp_path / 'list.pth')
    for name in ('none.pth', 'folder.pth', 'empty.pth', 'text.pth', 'cut.pth', 'list.pth'):
        assert str(tmp_path / name) in answer(READERS[reader], tmp_path / name), name


@pytest.mark.parametrize('reader', ['create_model', 'check_fits', 'load_from', 'init_cfg'])
def test_the_checkpoint_of_another_arch(reader, converted):
    line = answer(READERS[reader], converted['m3'])
    assert str(converted['m3']) in line
    assert ("arch='m3'" in line and "arch='m0'" in line) or 'stem.vertical.conv.weight' in line


@pytest.mark.parametrize('call', [convert_checkpoint, publish_checkpoint])
def test_files_to_write(call, released, tmp_path):
    (tmp_path / 'file').touch()
    (tmp_path / 'folder.pth').mkdir()
    source = released['m0']
    for target in (tmp_path / 'a.txt', tmp_path, tmp_path / 'file' / 'a.pth'):
        line = answer(call, source, target)
        assert str(target) in line or f'{target.parent} is not writable' in line
    if call is convert_checkpoint:  # the other one adds to the name
        assert 'is a folder; name a file' in answer(call, source, tmp_path / 'folder.pth')
        assert 'choose another output path' in answer(call, source, source)
