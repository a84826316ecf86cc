"""Plans as files: exported, described, run without ONNX Runtime and from C, and what is refused."""
import _ctypes
import gc
import json
import os
import pickle
import re
import shutil
import struct
import subprocess
import sys
import tempfile
from copy import copy, deepcopy

import cv2
import numpy as np
import pytest
import torch
from mm import ROOT
from mmengine.registry import DefaultScope
from torch import nn

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('mmpretrain')

import onnx
from test_exporter import built

from micronet_mm.commands import export as export_tool
from micronet_mm.deploy.assemble import assemble
from micronet_mm.deploy.plan.engine import plan_library
from micronet_mm.deploy.plan.exporting import TOLERANCES, compare, to_plan
from micronet_mm.ops.compiled import BuildError
from micronet_runtime import Classifier, InputError, Model, PlanError, PoseEstimator
from micronet_runtime.__main__ import main

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::UserWarning',
                                        'ignore::torch.jit.TracerWarning')
CONFIGS = ROOT / 'configs'
DIGITS = CONFIGS / 'demo' / 'imagenet_micronet_m0_digits.py'
KEYPOINTS = CONFIGS / 'demo' / 'keypoint_micronet_m0_demo.py'
LIBRARY = 'libmicronet_plan.so'


@pytest.fixture(scope='module', autouse=True)
def runnable():
    try:
        plan_library()
    except BuildError as error:
        pytest.skip(f'what runs plans cannot be compiled: {error}')


def pictures(count, side=48):
    """(N, side, side, 3) uint8: spots of color."""
    small = np.random.default_rng(0).normal(120, 80, (count, 6, 6, 3)).clip(0, 255).astype(np.float32)
    return [cv2.resize(each, (side, side)).astype(np.uint8) for each in small]


def responsive(config):
    """A config and its model, whose logits depend on the image: BN has the statistics of what comes to it."""
    cfg, model = built(config)
    for layer in model.backbone.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.03)
    images = (torch.from_numpy(np.stack(pictures(16))).permute(0, 3, 1, 2) - 120) / 60
    for norm in [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]:
        norm.momentum = 1.0
        norm.train()
        with torch.no_grad():
            model.head(model.extract_feat(images))
        norm.eval().running_var.clamp_(min=1e-2)  # lest rounding grow where a channel is nearly constant
    return cfg, model


def run(capsys, *arguments):
    """The last line that the exporter prints, or its error."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', ['export.py', *map(str, arguments)])
        try:
            export_tool.main()
        except SystemExit as stop:
            return str(stop.code)
        finally:
            DefaultScope._instance_dict.clear()
    return capsys.readouterr().out.splitlines()[-1] if capsys else ''


def described(plan, change):
    """A plan's content with another description: ``change`` is called with the dict."""
    content = plan.read_bytes()
    length, = struct.unpack_from('<q', content, 64)
    description = json.loads(content[-length:])
    change(description)
    text = json.dumps(description).encode()
    return content[:64] + struct.pack('<q', len(text)) + content[72:-length] + text


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A folder with a checkpoint, its plan, the library, and its ONNX file."""
    folder = tmp_path_factory.mktemp('exported')
    _, model = responsive(DIGITS)
    torch.save(dict(state_dict=model.state_dict()), folder / 'digits.pth')
    DefaultScope._instance_dict.clear()
    for name in ('digits.plan', 'digits.onnx'):
        assert run(None, DIGITS, folder / 'digits.pth', folder / name) == ''
    return folder


@pytest.fixture
def moved(exported, tmp_path):
    """A plan and its library in a folder of its own."""
    for name in ('digits.plan', LIBRARY):
        shutil.copy(exported / name, tmp_path)
    return tmp_path / 'digits.plan'


def test_scores_are_those_of_the_onnx_file(exported):
    images = pictures(7) + pictures(2, side=80)  # the latter are resized
    theirs = Classifier(exported / 'digits.onnx')(images)
    for options in (dict(), dict(batch_size=4), dict(batch_size=9, threads=2)):
        ours = Classifier(exported / 'digits.plan', **options)(images)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine.scores, other.scores, atol=1e-4)
            assert (mine.label, mine.name) == (other.label, other.name)
    assert len({each.label for each in theirs}) > 1  # they depend on the image


@pytest.mark.parametrize('name', ['digits.plan', 'digits.onnx'])
def test_copies_are_sessions_of_their_own(name, exported, monkeypatch):
    """They open their file anew, from wherever they are."""
    monkeypatch.chdir(exported)
    first, images = Classifier(name, threads=2), pictures(2)
    expected = [each.scores for each in first(images)]
    monkeypatch.chdir('/')
    for make in (copy, deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        other = make(first)
        assert all(np.array_equal(a.scores, b) for a, b in zip(other(images), expected))
        del other
        gc.collect()
        assert all(np.array_equal(a.scores, b) for a, b in zip(first(images), expected))
    if name.endswith('.plan'):
        session = first.model.session
        made = copy(session)
        assert made.handle != session.handle
        del made
        gc.collect()
        assert all(np.array_equal(a.scores, b) for a, b in zip(first(images), expected))


@pytest.mark.parametrize('name', ['digits.plan', 'digits.onnx'])
def test_forks_run_what_their_parent_has_run(name, exported):
    """As servers do that load a model before they fork, and as process pools do. Threads stay in the parent."""
    code = f'''
import os, pickle, signal, sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
import numpy as np
from micronet_runtime import Classifier
classify, images = Classifier({str(exported / name)!r}, threads=2, batch_size=None), list(np.load('images.npy'))
expected = np.stack([each.scores for each in classify(images)])
child = os.fork()
if child == 0:
    signal.alarm(60)
    again = classify, Classifier({str(exported / name)!r}, threads=2)
    fits = all(np.allclose([each.scores for each in one(images)], expected, atol=1e-6) for one in again)
    os._exit(not fits)  # as multiprocessing ends; ONNX Runtime waits for its threads in any other end
assert os.waitpid(child, 0)[1] == 0
with ProcessPoolExecutor(1, get_context('fork')) as pool:
    found = pool.submit(classify, images).result(60)
assert np.allclose(np.stack([each.scores for each in found]), expected, atol=1e-6)
'''
    with tempfile.TemporaryDirectory() as folder:
        np.save(f'{folder}/images.npy', np.stack(pictures(4)))
        done = subprocess.run([sys.executable, '-c', code], cwd=folder, text=True, capture_output=True, timeout=200,
                              env=dict(os.environ, PYTHONPATH=str(ROOT)))
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_plan_says_what_the_onnx_file_says(exported):
    graph = onnx.load(exported / 'digits.onnx')
    expected = {p.key: json.loads(p.value) for p in graph.metadata_props}['micronet_mm']
    expected['input']['batch'] = None
    session = Model(exported / 'digits.plan').session
    assert json.loads(session.description) == {**expected, 'outputs': {'scores': [10]}, 'softmax': True}


def test_the_command_line_needs_neither_onnxruntime_nor_torch(moved):
    cv2.imwrite(str(moved.parent / 'digit.png'), pictures(1)[0])
    code = '''import sys
sys.modules.update(onnxruntime=None, torch=None)
from micronet_runtime.__main__ import main
main(['digits.plan', 'digit.png', '--json', 'found.json'])'''
    done = subprocess.run([sys.executable, '-c', code], cwd=moved.parent, env={'PYTHONPATH': str(ROOT)}, text=True,
                          capture_output=True)
    assert done.stdout.startswith('1 image classified') and not done.stderr
    found, = json.loads((moved.parent / 'found.json').read_text())
    assert found['label'] == Classifier(moved)(pictures(1))[0].label


def test_without_onnxruntime_an_onnx_file_is_refused_in_one_line(exported, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(InputError, match=r'digits\.onnx needs onnxruntime, which is not installed: .* as a plan\.$'):
        Model(exported / 'digits.onnx')


def test_from_c(moved):
    compiler = shutil.which('gcc') or shutil.which('cc')
    if compiler is None:
        pytest.skip('there is no C compiler')
    folder, source = moved.parent, ROOT / 'micronet_mm' / 'ops' / 'plan' / 'example.c'
    assert len(source.read_text().splitlines()) <= 50
    subprocess.run([compiler, '-Wall', '-Werror', source, '-L.', '-lmicronet_plan', '-Wl,-rpath,$ORIGIN', '-lm', '-o',
                    'classify'], cwd=folder, check=True)
    images = pictures(5)
    for image, expected in zip(images, Classifier(moved)(images)):
        cv2.imwrite(str(folder / 'digit.ppm'), image)
        done = subprocess.run(['./classify', moved, 'digit.ppm'], cwd=folder, capture_output=True, text=True)
        label, score = done.stdout.split()
        assert int(label) == expected.label and abs(float(score) - expected.score) < 1e-5
    cut = folder / 'cut.plan'
    cut.write_bytes(moved.read_bytes()[:5000])
    for arguments, message in ((['digits.plan', 'digits.plan'], 'digits.plan: is no binary PPM of the plan\'s size\n'),
                               ([cut, 'digit.ppm'], f'{cut}: it is cut off\n')):
        done = subprocess.run(['./classify', *arguments], cwd=folder, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (1, message)


# ---- What the runtime refuses.

@pytest.mark.parametrize(('change', 'message'), [
    (lambda plan: b'', 'is no plan: it does not begin as one does; name one that'),
    (lambda plan: b'\x08\x07' + plan, 'is no plan: it does not begin as one does'),
    (lambda plan: plan[:20], 'is a plan that is cut off or damaged; copy it again'),
    (lambda plan: plan[:len(plan) // 2], 'is a plan that is cut off or damaged'),
    (lambda plan: plan[:-1], 'is a plan that is cut off or damaged'),
    (lambda plan: plan + b' ', 'is a plan that is cut off or damaged'),
    (lambda plan: plan[:8] + b'\x63' + plan[9:], r'no plan that can be run \(it is of another version\); export it'),
    (lambda plan: plan.replace(b'"scores": [10]', b'"scores": [11]'), 'has other inputs or outputs than it says'),
    (lambda plan: plan.replace(b'"outputs"', b'"strange"'), r"cannot be understood \(KeyError\('outputs'\)\); export"),
    (lambda plan: plan.replace(b'"format": 1', b'"format": 7'), 'metadata of format 7, and this micronet_runtime'),
], ids=range(10))
def test_damaged_and_foreign_plans(moved, change, message):
    moved.write_bytes(change(moved.read_bytes()))
    with pytest.raises(InputError, match=message) as caught:
        Model(moved)
    assert '\n' not in str(caught.value) and (type(caught.value) is PlanError or 'format' in message)


def test_a_plan_is_known_by_its_content(moved):
    named = moved.rename(moved.with_suffix('.bin'))
    assert Classifier(named)(pictures(1))


@pytest.mark.parametrize(('change', 'message'), [
    (lambda path: path.unlink(), rf'{LIBRARY} is missing: the library that runs .*digits\.plan; put the one there'),
    (lambda path: path.write_bytes(path.read_bytes()[:200_000]), rf'the library .*{LIBRARY} is cut off; copy it again'),
    (lambda path: path.write_bytes(b'MZ' + bytes(500)), rf'the library .*{LIBRARY} does not load here \(.*\); take'),
    (lambda path: path.write_bytes(path.read_bytes()[:18] + b'\xff\xff' + path.read_bytes()[20:]),
     rf'the library .*{LIBRARY} is for another kind of processor; take the one'),
], ids=['missing', 'cut off', 'no library', 'another processor'])
@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='of files as Linux has them')
def test_libraries_that_cannot_be_loaded(moved, change, message):
    change(moved.parent / LIBRARY)
    with pytest.raises(PlanError, match=message) as caught:
        Model(moved)
    assert '\n' not in str(caught.value)


def test_the_library_may_lie_elsewhere(moved, monkeypatch):
    elsewhere = (moved.parent / LIBRARY).rename(moved.parent / 'else.so')
    monkeypatch.setenv('MICRONET_PLAN_LIBRARY', str(elsewhere))
    assert Classifier(moved)(pictures(1))
    monkeypatch.setenv('MICRONET_PLAN_LIBRARY', 'nowhere.so')
    with pytest.raises(PlanError, match=r'MICRONET_PLAN_LIBRARY in the environment says nowhere\.so, which is no file'):
        Model(moved)
    monkeypatch.setenv('MICRONET_PLAN_LIBRARY', _ctypes.__file__)
    with pytest.raises(PlanError, match='is a library that does not run plans'):
        Model(moved)


def test_options_that_plans_have_not(moved, capsys):
    with pytest.raises(InputError, match=r'providers are of ONNX Runtime, and .*digits\.plan is a plan'):
        Model(moved, providers=['CPUExecutionProvider'])
    with pytest.raises(InputError, match=r'an input of 32 x 48 was given, and .*digits\.plan takes 48 x 48 alone'):
        Model(moved).run(np.zeros((1, 3, 32, 48), np.float32))
    main([str(moved), '--show-model'])
    assert 'any number' in capsys.readouterr().out


# ---- What the exporter says and refuses.

def test_the_exporter_names_both_files(exported, tmp_path, capsys):
    out = tmp_path / 'new' / 'raw.plan'
    said = run(capsys, DIGITS, exported / 'digits.pth', out, '--raw', '--size', 64, 32)
    assert re.fullmatch(rf'{out}: classification for images of 64 x 32, [\d.]+ MB; it equals PyTorch within \S+ of the '
                        rf'largest value on 4 inputs; {out.parent / LIBRARY} runs it without PyTorch \(.*\)', said)
    assert sorted(path.name for path in out.parent.iterdir()) == [LIBRARY, 'raw.plan']
    assert Model(out).run(np.zeros((3, 3, 64, 32), np.float32))['logits'].shape == (3, 10)
    with pytest.raises(InputError, match=r'raw\.plan gives logits and not scores'):
        Classifier(out)


@pytest.mark.parametrize(('weights', 'least', 'smaller'), [('float32', 0, 1.01), ('bfloat16', 1e-5, 0.6),
                                                            ('int8', 1e-4, 0.4)])
def test_weights_of_fewer_bits(weights, least, smaller, exported, tmp_path, capsys):
    """The file says so, is smaller, and is as far from PyTorch as the exporter says, which is not nothing."""
    out, whole = tmp_path / 'raw.plan', (exported / 'digits.plan').stat().st_size
    said = run(capsys, DIGITS, exported / 'digits.pth', out, '--weights', weights, '--raw')
    assert (f'weights of linear layers in {weights}, ' in said) == (weights != 'float32')
    stated = float(re.search(r'it equals PyTorch within (\S+) of', said)[1])
    assert least < stated < TOLERANCES[weights] and out.stat().st_size < smaller * whole
    model = Model(out)
    assert model.metadata.quantization == (None if weights == 'float32' else weights)
    images = np.stack(pictures(8)).astype(np.float32).transpose(0, 3, 1, 2)
    cfg, network = built(DIGITS)
    network.load_state_dict(torch.load(exported / 'digits.pth')['state_dict'])
    with torch.no_grad():
        expected = assemble(cfg, 'classification', network, raw=True, deploy=False)(torch.from_numpy(images))[0].numpy()
    far = np.abs(model.run(images)['logits'] - expected).max() / np.abs(expected).max()
    assert least < far < TOLERANCES[weights]


def test_weights_of_an_onnx_file_are_not_chosen(tmp_path):
    said = run(None, DIGITS, 'none.pth', tmp_path / 'a.onnx', '--weights', 'float32')
    assert said == (f'error: --weights float32: of plans alone, and {tmp_path / "a.onnx"} is to be an ONNX file; leave '
                    'it out, name a file that ends in .plan, or give --int8 FOLDER.')


@pytest.mark.parametrize(('config', 'arguments', 'message'), [
    (DIGITS, ('--open-size', ), '--open-size: a plan is for images of one size; leave it out, or export an ONNX file.'),
    (DIGITS, ('--open-batch', ), '--open-batch: a plan takes any number of images anyway; leave it out, or export an '
                                 'ONNX file.'),
    (DIGITS, ('--batch', 2), '--batch 2: a plan takes any number of images anyway; leave it out, or export an ONNX '
                             'file.'),
    (DIGITS, ('--int8', '.'), '--int8: a plan computes in float32, and --weights int8 stores it in 8 bits; leave it '
                              'out, or export an ONNX file.'),
    (CONFIGS / 'demo' / 'retinanet_micronet_m3_demo.py', ('--size', 64, 64),
     'with a plan there is no decoding of RetinaHead, only of MicroDetHead and GFLHead; export the maps with --raw, or '
     'an ONNX file.'),
    (CONFIGS / 'demo' / 'faster_rcnn_micronet_m3_demo.py', ('--raw', '--size', 64, 64),
     'a plan has no step for the second stage of a detector; export an ONNX file.'),
    (CONFIGS / 'demo' / 'micro_det_m3_demo.py', ('--raw', ),
     'a plan is for images of one size, and the test pipeline leaves theirs open; give --size H W.'),
], ids=lambda value: str(value)[-30:])
def test_what_a_plan_cannot_be(config, arguments, message, tmp_path):
    for package, name in (('mmpose', 'keypoint'), ('mmdet', 'det'), ('mmdet', 'rcnn'), ('mmdet', 'retina')):
        if name in config.stem:
            pytest.importorskip(package)
    (tmp_path / 'some.pth').touch()
    said = run(None, config, tmp_path / 'some.pth', tmp_path / 'out' / 'a.plan', *arguments)
    assert said == f'error: {message}' and not (tmp_path / 'out').exists()


def test_what_is_read_is_not_overwritten(exported, tmp_path):
    checkpoint = tmp_path / LIBRARY
    shutil.copy(exported / 'digits.pth', checkpoint)
    before = checkpoint.read_bytes()
    said = run(None, DIGITS, checkpoint, tmp_path / 'a.plan')
    assert said.startswith(f'error: Output {checkpoint} is also the input ') and checkpoint.read_bytes() == before
    assert not (tmp_path / 'a.plan').exists()


@pytest.mark.parametrize(('name', 'message'), [
    ('imagenet_micronet_m2_static', 'a plan has no step for Shift-Max with static coefficients, J = 2 or K = 1, which'),
    ('imagenet_mobilenetv2', 'a plan begins with the stem of a MicroNet, which normalizes pixels, and the model has'),
])
def test_layers_that_plans_have_not_are_named(name, message):
    cfg, model = built(CONFIGS / 'ablation' / f'{name}.py')
    with pytest.raises(ValueError) as caught:
        to_plan(assemble(cfg, 'classification', model, raw=True), (64, 64), {})
    assert str(caught.value).startswith(message)


def test_what_differs_from_pytorch_is_not_written():
    cfg, model = responsive(DIGITS)
    trained = assemble(cfg, 'classification', deepcopy(model), raw=True, deploy=False)
    images = [torch.from_numpy(np.stack(pictures(2))).permute(0, 3, 1, 2).float()]
    with torch.no_grad():
        logits = trained(images[0])[0]
    content = to_plan(assemble(cfg, 'classification', deepcopy(model), raw=True), (48, 48), {})
    assert compare(content, trained, images) < 1e-4
    trained.forward = lambda image: (logits + 0.01 * logits.abs().max(), )
    with pytest.raises(ValueError, match=r'the plan and PyTorch differ by .*; nothing was written'):
        compare(content, trained, images)
    compare(content, trained, images, 'bfloat16')
    trained.forward = lambda image: (logits + 0.5 * logits.abs().max(), )
    for weights in ('bfloat16', 'int8'):
        with pytest.raises(ValueError, match=rf'the plan with weights in {weights} and PyTorch differ by .*; nothing'):
            compare(content, trained, images, weights)


def test_heatmaps_without_flip_test(tmp_path, capsys):
    pytest.importorskip('mmpose')
    cfg, model = built(KEYPOINTS)
    assert model.test_cfg['flip_test']
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'pose.pth')
    out = tmp_path / 'pose.plan'
    said = run(capsys, KEYPOINTS, tmp_path / 'pose.pth', out, '--raw')
    assert said.startswith(f'{out}: keypoints for images of 176 x 128, heatmaps without flip test, ')
    image = torch.rand(2, 3, 176, 128) * 255
    model.test_cfg['flip_test'] = False
    with torch.no_grad():
        expected, = assemble(cfg, 'keypoints', model, raw=True, deploy=False)(image)
    found = Model(out).run(image.numpy())['heatmaps']
    np.testing.assert_allclose(found, expected, atol=1e-4 * float(expected.abs().max()))
    with pytest.raises(InputError, match=r'gives heatmaps and not keypoints, scores; export it without --raw'):
        PoseEstimator(out)


def test_maps_of_a_detector_and_of_a_backbone(tmp_path):
    pytest.importorskip('mmdet')
    config = CONFIGS / 'demo' / 'micro_det_m3_demo.py'
    _, model = built(config)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'tiny.pth')
    assert run(None, config, tmp_path / 'tiny.pth', tmp_path / 'maps.plan', '--raw', '--size', 64, 96) == ''
    assert run(None, config, tmp_path / 'tiny.pth', tmp_path / 'features.plan', '--backbone', '--size', 64, 96) == ''
    image = np.zeros((2, 3, 64, 96), np.float32)
    maps = Model(tmp_path / 'maps.plan').run(image)
    assert maps['maps0_0'].shape[0] == 2 and all(name.startswith('maps') for name in maps)
    features = Model(tmp_path / 'features.plan').run(image)
    assert {name: value.shape[2:] for name, value in features.items()}['stage3'] == (2, 3)
