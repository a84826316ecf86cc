"""Weights in files of other kinds: PaddleClas's, safetensors, and those that are given away."""
import hashlib
import pickle
import re
import sys
from collections import OrderedDict
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config
from mmengine.runner import CheckpointLoader
from released import released_state_dict
from test_hub import lively
from torch import nn

from micronet_mm import create_model
from micronet_mm.checkpoint import (
    BrokenCheckpointError,
    CheckpointError,
    RefusedCheckpointError,
    check_fits,
    check_initial_weights,
    convert_checkpoint,
)
from micronet_mm.checkpoint.plain_json import from_json, to_json
from micronet_mm.checkpoint.publish import publish_checkpoint
from micronet_mm.checkpoint.reading import read_checkpoint
from micronet_mm.checkpoint.weights import choose_weights, write_weights
from micronet_mm.models import MicroNet

STATISTICS = dict(running_mean='_mean', running_var='_variance')


def as_paddle(released):
    """Released weights as PaddleClas names and lays them out."""
    arrays = {}
    for name, value in released.items():
        layer, _, last = name.rpartition('.')
        if last != 'num_batches_tracked':
            arrays[f'{layer}.{STATISTICS.get(last, last)}'] = (value.T if value.ndim == 2 else value).numpy()
    return arrays


def write_pdparams(path, content, protocol=2):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


@pytest.fixture
def trained(tmp_path):
    """A training checkpoint as MMEngine's EMAHook has it written, and its averaged and trained weights."""
    torch.manual_seed(0)
    averaged, trained = MicroNet('m0').state_dict(), MicroNet('m0').state_dict()
    meta = dict(epoch=3, iter=30, cfg='data_root = "/home/somebody"', seed=1,
                dataset_meta=dict(classes=('a', 'b'), palette=[(1, 2, 3)]))
    torch.save(dict(meta=meta, state_dict=averaged, optimizer=dict(state={}), param_schedulers=[], message_hub={},
                    ema_state_dict=dict({f'module.{name}': value for name, value in trained.items()},
                                        steps=torch.tensor(30))), tmp_path / 'epoch_3.pth')
    return tmp_path / 'epoch_3.pth', averaged, trained


@pytest.fixture
def tool(monkeypatch, capsys):
    """Runs a program of tools/ in this process; what it printed, or the error that it ended with."""

    def run(name, *arguments):
        monkeypatch.setattr(sys, 'argv', [name, *map(str, arguments)])
        try:
            import_module(name).main()
        except SystemExit as stop:
            return f'{stop}\n'
        return capsys.readouterr().out

    return run


def equal(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[name], value) for name, value in wanted.items())


@pytest.mark.parametrize('names', [{}, {'StructuredToParameterName@@': {'features.0': 'conv2d_0.w_0'}}])
@pytest.mark.parametrize('protocol', [2, 4])
@pytest.mark.parametrize('arch', ['m0', 'm3'])
def test_pdparams_are_converted_exactly(arch, protocol, names, converted, tmp_path):
    arrays = OrderedDict(as_paddle(released_state_dict(arch)), **names)
    source = write_pdparams(tmp_path / 'MicroNet.pdparams', arrays, protocol)
    found, sha256 = convert_checkpoint(source, tmp_path / 'm.pth')
    assert found == arch and sha256 == hashlib.sha256((tmp_path / 'm.pth').read_bytes()).hexdigest()
    content, wanted = torch.load(tmp_path / 'm.pth'), torch.load(converted[arch])['state_dict']
    assert equal(content['state_dict'], wanted)
    assert {name: value.dtype for name, value in content['state_dict'].items()} == {
        name: value.dtype for name, value in wanted.items()}
    assert content['meta'] == dict(arch=arch, source='MicroNet.pdparams', num_classes=1000)


def test_pdparams_of_other_orders_and_types_are_read(tmp_path):
    arrays = dict(a=np.arange(6, dtype='>f4').reshape(2, 3, 1), b=np.asfortranarray(np.arange(6.).reshape(1, 2, 3)),
                  c=np.arange(3, dtype='f2'))
    found = read_checkpoint(write_pdparams(tmp_path / 'm.pdparams', arrays))
    assert all(np.array_equal(found[name].numpy(), array) for name, array in arrays.items())


def test_pdparams_serve_create_model_and_are_refused_with_advice_elsewhere(converted, tmp_path):
    source = write_pdparams(tmp_path / 'm0.pdparams', as_paddle(released_state_dict('m0')))
    assert equal(create_model('micronet_m0', source).state_dict(), torch.load(converted['m0'])['state_dict'])
    with pytest.raises(CheckpointError, match=r'other names: convert it with micronet-mm convert'):
        CheckpointLoader.load_checkpoint(str(source))


class Payload:

    def __reduce__(self):
        return Path.touch, (Path('touched_by_pickle'), )


@pytest.mark.parametrize(('content', 'message'), [
    (dict(a=Payload()), 'is refused: it holds __builtin__.getattr, which is no array; PaddleClas only writes arrays'),
    (dict(a=np.array([{}])), "is broken and .* an array of type 'O8', which is not numeric"),
    (dict(a=np.array(['text'])), 'an array of type .*, which is not numeric'),
    (dict(a=1), 'is broken and cannot be read as .pdparams: expected arrays by name'),
    ({}, 'expected arrays by name'),
    ([1], 'expected arrays by name'),
])
def test_pdparams_that_hold_more_than_numbers_are_refused_in_one_line(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((BrokenCheckpointError, RefusedCheckpointError), match=message) as error:
        read_checkpoint(write_pdparams(tmp_path / 'm.pdparams', content))
    assert '\n' not in str(error.value) and not (tmp_path / 'touched_by_pickle').exists()


@pytest.mark.parametrize('spoil', [
    lambda content: content[:len(content) // 2],
    lambda content: content[:-1],
    lambda content: b'',
    lambda content: b'\xff' * 9 + content[9:],
    lambda content: content.replace(b'(K\x08)', b'(K\x09)', 1).replace(b'K\x08\x85', b'K\x09\x85', 1),
], ids=['half', 'all but the end', 'empty', 'another beginning', 'another shape'])
@pytest.mark.parametrize('suffix', ['.pdparams', '.safetensors'])
def test_damaged_files_are_said_in_one_line(suffix, spoil, tool, tmp_path):
    path = tmp_path / f'm{suffix}'
    if suffix == '.pdparams':
        write_pdparams(path, dict(weight=np.ones(8, np.float32)))
    else:
        write_weights(dict(weight=torch.ones(8)), {}, path)
    before = path.read_bytes()
    after = spoil(before) if suffix == '.pdparams' or spoil(before) != before else before.replace(b'[8]', b'[9]')
    assert after != before
    path.write_bytes(after)
    with pytest.raises(BrokenCheckpointError, match='is broken and cannot be read as') as error:
        read_checkpoint(path)
    assert '\n' not in str(error.value)
    assert re.fullmatch(r'error: \S+ is broken .*\n', tool('convert_checkpoint', path, tmp_path / 'out.pth'))


def test_a_description_of_another_hand_is_said_in_one_line(tmp_path):
    save = pytest.importorskip('safetensors.torch').save_file
    for text in ('{', '{"@array": 3}', '{"@dict": [[[], 1]]}', '{"@array": ["O", [1], [2, 3]]}'):
        save(dict(a=torch.zeros(1)), tmp_path / 'm.safetensors', dict(meta=text))
        with pytest.raises(BrokenCheckpointError, match=r'm\.safetensors is broken'):
            read_checkpoint(tmp_path / 'm.safetensors')
    save(dict(a=torch.zeros(1)), tmp_path / 'm.safetensors', dict(format='pt'))
    assert read_checkpoint(tmp_path / 'm.safetensors')['meta'] == {}


def test_descriptions_survive_as_text():
    meta = dict(classes=('a', 'b'), palette=[[1, 2, 3]], keypoint_id2name={0: 'nose', 1: 'eye'}, none=None,
                links=[(0, 1)], nested={'@dict': {(1, 2): 0.5}}, epoch=3, rate=0.1)
    arrays = dict(sigmas=np.array([0.026, 0.025], np.float32), colors=np.eye(3, dtype=np.uint8))
    found = from_json(to_json({**meta, 'epoch': np.int64(3), **arrays}))
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found.pop(name), array)
    assert found == meta
    with pytest.raises(TypeError, match='Path'):
        to_json(dict(path=Path('x')))


def test_safetensors_say_what_to_install_where_the_package_is_missing(tmp_path):
    (tmp_path / 'm.safetensors').write_bytes(b'')
    code = ("import sys; sys.modules['safetensors'] = None; import micronet_mm; "
            "micronet_mm.create_model('micronet_m0', 'm.safetensors')")
    run = call('-c', code, cwd=tmp_path, apart=True)
    assert 'which is not installed: pip install safetensors.' in run.stderr.splitlines()[-1]


@pytest.fixture(scope='module')
def safe(released, tmp_path_factory):
    """The converted M0 in safetensors."""
    path = tmp_path_factory.mktemp('safe') / 'm0.safetensors'
    assert convert_checkpoint(released['m0'], path).arch == 'm0'
    return path


def test_safetensors_hold_what_pth_holds(safe, converted):
    found, wanted = read_checkpoint(safe), torch.load(converted['m0'])
    assert equal(found['state_dict'], wanted['state_dict']) and found['meta'] == wanted['meta']
    raw = pytest.importorskip('safetensors.torch').load_file(safe)
    assert equal(raw, wanted['state_dict'])


def test_safetensors_are_read_wherever_a_checkpoint_is_named(safe, converted):
    stored = torch.load(converted['m0'])['state_dict']
    backbone = MicroNet('m0', init_cfg=dict(type='Pretrained', checkpoint=str(safe), prefix='backbone.'))
    check_initial_weights(backbone)
    backbone.init_weights()
    assert all(torch.equal(value, stored[f'backbone.{name}']) for name, value in backbone.state_dict().items())
    model = create_model('micronet_m0', pretrained=safe)
    assert equal(model.state_dict(), stored)
    check_fits(model, safe)
    check_initial_weights(nn.ModuleDict(dict(backbone=backbone)), str(safe))  # as load_from


def test_mmpretrain_s_inferencer_takes_safetensors(safe, converted):
    pytest.importorskip('mmpretrain')
    from mmpretrain.apis import ImageClassificationInferencer
    infer = ImageClassificationInferencer(str(ROOT / 'configs' / 'imagenet_micronet_m0.py'), str(safe), device='cpu')
    assert equal(infer.model.state_dict(), torch.load(converted['m0'])['state_dict'])


def test_safetensors_are_exported(tool, tmp_path):
    pytest.importorskip('mmpretrain')
    write_weights(lively(create_model('micronet_m0')).float().state_dict(), {}, tmp_path / 'm.safetensors')
    said = tool('export', ROOT / 'configs' / 'imagenet_micronet_m0.py', tmp_path / 'm.safetensors',
                tmp_path / 'm.plan', '--size', 64, 64, '--raw')
    assert 'it equals PyTorch within' in said, said
    assert (tmp_path / 'm.plan').stat().st_size > 0


@pytest.mark.slow
def test_training_starts_and_tests_from_safetensors(safe, tmp_path):
    """``load_from`` of tools/train.py, and the checkpoint of tools/test.py."""
    pytest.importorskip('sklearn')
    assert call(ROOT / 'tools' / 'make_digits.py', 'data/digits', cwd=tmp_path).returncode == 0
    config = ROOT / 'configs' / 'demo' / 'imagenet_micronet_m0_digits.py'
    assert Config.fromfile(config).model.head.num_classes == 10
    run = call(ROOT / 'tools' / 'train.py', config, '--work-dir', 'w', '--cfg-options', f'load_from={safe}',
               'train_cfg.max_epochs=1', 'train_dataloader.dataset.indices=64', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    tool = ROOT / 'tools' / 'publish_checkpoint.py'
    run = call(tool, 'w/epoch_1.pth', 'digits.safetensors', cwd=tmp_path)
    [published] = tmp_path.glob('digits-*.safetensors')
    scores = []
    for path in (published, 'w/epoch_1.pth'):
        run = call(ROOT / 'tools' / 'test.py', config, path, '--work-dir', 't', cwd=tmp_path)
        scores += re.findall(r'accuracy/top1: ([\d.]+)', run.stdout)
    assert len(scores) == 2 and scores[0] == scores[1]


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
@pytest.mark.parametrize(('options', 'which', 'said'), [
    ([], 0, 'the averaged weights (EMA)'), (['--ema'], 0, 'the averaged weights (EMA)'),
    (['--no-ema'], 1, 'the trained weights, not averaged')])
def test_what_is_published_is_weights_alone(suffix, options, which, said, trained, tool, tmp_path):
    path, *weights = trained
    printed = tool('publish_checkpoint', path, tmp_path / 'out' / f'm0{suffix}', *options)
    [published] = (tmp_path / 'out').iterdir()
    sha256 = hashlib.sha256(published.read_bytes()).hexdigest()
    assert published.name == f'm0-{sha256[:8]}{suffix}'
    assert printed == f'{published}: {said}, {len(weights[which])} tensors, SHA-256 {sha256}\n'
    content = read_checkpoint(published)
    assert content.keys() == {'meta', 'state_dict'} and equal(content['state_dict'], weights[which])
    assert content['meta'] == dict(epoch=3, iter=30, dataset_meta=dict(classes=('a', 'b'), palette=[(1, 2, 3)]))
    assert b'somebody' not in published.read_bytes()


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_publishing_again_gives_the_same_file_and_none_is_written_over(suffix, trained, tmp_path):
    first = publish_checkpoint(trained[0], tmp_path / f'a{suffix}')
    assert publish_checkpoint(first.path, tmp_path / f'a{suffix}').sha256 == first.sha256
    first.path.write_text('something else')
    with pytest.raises(ValueError, match='is there with other content; move it away') as error:
        publish_checkpoint(trained[0], tmp_path / f'a{suffix}')
    assert '\n' not in str(error.value) and first.path.read_text() == 'something else'
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(['epoch_3.pth', first.path.name])


@pytest.mark.parametrize(('content', 'target', 'options', 'message'), [
    (dict(state_dict=dict(a=torch.ones(1))), 'm.pth', ['--ema'], 'holds no averaged weights'),
    (dict(state_dict={}), 'm.pth', [], 'holds no weights: expected tensors by name'),
    ([1], 'm.pth', [], 'holds no weights, but a list'),
    (dict(state_dict=dict(a=torch.ones(1))), 'm.onnx', [], r'Weights are written to .* files; got .*m\.onnx'),
    (dict(state_dict=dict(a=torch.ones(1)), meta=dict(dataset_meta=dict(kind=slice(3)))), 'm.safetensors', [],
     r'm\.safetensors: .* has other types \(slice has no place in JSON\); write a \.pth'),
    (None, 'm.pth', [], 'does not exist'),
])
def test_mistakes_of_publishing_are_one_line(content, target, options, message, tool, tmp_path):
    if content is not None:
        torch.save(content, tmp_path / 'src.pth')
    printed = tool('publish_checkpoint', tmp_path / 'src.pth', tmp_path / target, *options)
    assert re.fullmatch(f'error: .*{message}.*\n', printed), printed
    assert {path.name for path in tmp_path.iterdir()} <= {'src.pth'}


def test_weights_that_share_memory_are_written_each(tmp_path):
    whole = torch.arange(6.)
    shared = dict(a=whole, b=whole[2:4], c=whole.view(2, 3).T)
    for suffix in ('.pth', '.safetensors'):
        write_weights(shared, {}, tmp_path / f'm{suffix}')
        assert equal(read_checkpoint(tmp_path / f'm{suffix}')['state_dict'], shared)


def test_trained_weights_keep_what_their_average_does_not_follow():
    mean, weight = torch.zeros(1), torch.ones(1)
    content = dict(state_dict=dict(weight=weight, mean=mean),
                   ema_state_dict={'module.weight': weight + 1, 'steps': mean})
    assert equal(choose_weights(content, averaged=False).tensors, dict(weight=weight + 1, mean=mean))


def test_the_converter_says_the_sha256(released, tool, tmp_path):
    printed = tool('convert_checkpoint', released['m0'], tmp_path / 'm0.safetensors')
    sha256 = hashlib.sha256((tmp_path / 'm0.safetensors').read_bytes()).hexdigest()
    assert f'm0.safetensors: MicroNet-M0, SHA-256 {sha256}, for init_cfg=' in printed
    assert re.fullmatch(r'error: Weights are written to .* files; got \S+m0\.onnx\.\n',
                        tool('convert_checkpoint', released['m0'], tmp_path / 'm0.onnx'))
