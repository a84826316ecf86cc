"""Every option of every tool, given wrongly, ends it with one line that says what was given and what is allowed.

Tools run in this process, as importing what they do takes seconds. An option without a row fails the last test.
"""
import argparse
import re
import runpy
import sys
from contextlib import suppress
from typing import NamedTuple

import pytest
import torch
from mm import ROOT
from mmengine.logging import MMLogger
from toy import ToyModel, write_toy

from micronet_mm.models import MicroNet

TOOLS = ROOT / 'tools'


class Wrong(NamedTuple):
    """What is said to be allowed, and values that are not, each a text or a list of them."""
    allowed: str
    values: tuple


COUNT = Wrong('must be a whole number of at least 1', ('0', '-1', '1.5', 'x', 'nan', ''))
NATURAL = Wrong('must be a whole number of at least 0', ('-1', '1.5', 'x', 'nan'))
INTEGER = Wrong('invalid int value', ('x', '1.5', 'nan', ''))
CHOICE = Wrong('invalid choice', ('nothing', '0'))
NUMBER = Wrong('choose from', ('7', '0'))
OUT_FILE = Wrong(r'is not writable|Output .* is a folder; name a file', ('file/below.x', 'folder'))
OUT_DIR = Wrong('is not writable', ('file', 'file/below'))
CONFIG = Wrong('does not exist; name a file|cannot be read', (
    'nothing.py', 'folder', 'broken.py', 'retinanet_micronet_m4'))
CFG_OPTIONS = Wrong('is no KEY=VALUE|does not fit|has a space in a name', (
    'epochs', 'train_dataloader.dataset.pipeline.99.type=X', 'a=(person,big disc)'))
CHECKPOINT = Wrong('does not exist|is a folder; name a checkpoint in it|cannot be read|does not fit the model', (
    'nothing.pth', 'folder', 'file', 'cut.pth', 'weights.pth', 'm3.pth'))
RESUMED = Wrong('does not exist|is a folder; name a checkpoint in it|cannot be read|holds no training state', (
    'nothing.pth', 'folder', 'file', 'cut.pth', 'weights.pth'))
SCORE = Wrong('invalid float value|must be a number from 0 to 1|scores are from 0 to 1', ('x', '-1', 'nan', '2'))
SIZE = Wrong('invalid int value|at least 32', (['x', '64'], ['64', '0'], ['-64', '64'], ['31', '64'], ['64', 'nan']))
MODEL = Wrong('name an exported ONNX file or plan|is no model that ONNX Runtime', ('nothing.onnx', 'folder', 'file'))
FLAG = 'on or off'
TEXT = 'any text'
FREE = 'passed on as it is to the tool of MMLab'
COMPARED = {'--work-dir': OUT_DIR, '--epochs': COUNT, '--seeds': COUNT, '--jobs': COUNT}
COMMON = {'config': CONFIG, '--cfg-options': CFG_OPTIONS, '--work-dir': OUT_DIR, '--launcher': CHOICE,
          '--local_rank': NATURAL, '--no-checks': FLAG}
TOY, M0 = 'toy_config.py', 'imagenet_micronet_m0'

# Tool -> what it needs, and for each option what is wrong, or why nothing is.
TABLE = {
    'ablate_detector': ({'table': 'blocks'}, {**COMPARED, 'table': CHOICE}),
    'analyze_logs': ({'task': 'plot_curve'}, {'task': CHOICE, 'options': FREE}),
    'benchmark_annotations': ({}, {'--images': COUNT, '--rounds': COUNT}),
    'benchmark_commits': ({'other': 'folder'}, {
        'other': Wrong('is no checkout of this project', ('folder', 'nothing')), '--arch': CHOICE, '--task': CHOICE,
        '--threads': COUNT, '--steps': COUNT, '--rounds': COUNT}),
    'benchmark_exported': ({'models': 'nothing.onnx', 'source': 'images'}, {
        'models': MODEL, 'source': Wrong('does not exist; name an image|holds no image', ('nothing.jpg', 'folder')),
        '--rounds': COUNT, '--threads': COUNT}),
    'benchmark_latency': ({}, {
        '--networks': CHOICE, '--models': FLAG, '--forms': CHOICE, '--rounds': COUNT, '--threads': COUNT,
        '--batch': COUNT, '--throughput': FLAG, '--json': OUT_FILE, '--plot': OUT_FILE}),
    'benchmark_training': ({}, {
        '--arch': CHOICE, '--threads': COUNT, '--rounds': COUNT, '--beside': FLAG, '--json': OUT_FILE}),
    'browse_dataset': ({'config': M0}, {'config': CONFIG, 'options': FREE}),
    'bundle_weights': ({'config': 'trained/tiny_imagenet_micronet_m0', 'checkpoint': 'nothing.pth', '--commit': 'a'}, {
        'config': CONFIG, 'checkpoint': CHECKPOINT, '--tag': TEXT, '--dataset': CHOICE, '--size': COUNT,
        '--commit': TEXT}),
    'convert_checkpoint': ({'source': 'weights.pth', 'target': 'out.pth'}, {
        'source': Wrong('does not exist; give the released|is broken|these are not released', (
            'nothing.pth', 'folder', 'file', 'cut.pth', 'weights.pth')),
        'target': Wrong('written to .pth or .safetensors files|is also the input', ('out.onnx', 'weights.pth'))}),
    'demo_path': ({}, COMPARED),
    'demo_report': ({'work_dir': 'folder'}, {
        'work_dir': Wrong('name the --work-dir of a training', ('nothing', 'folder', 'file')),
        '--pictures': Wrong('name the --out-dir of tools/draw_poses.py|name the --work-dir of a training', (
            'nothing', 'folder'))}),
    'demo_web': ({}, {
        '--models': Wrong('is no folder; name one of exported files|holds no model', ('nothing', 'folder', 'file')),
        '--checkpoint': Wrong('does not exist|expected 2 arguments', (
            ['nothing.py', 'a.pth'], [M0, 'nothing.pth'], 'a')),
        '--host': 'whom the system knows', '--port': Wrong('invalid int value|from 1 to 65535', (
            '0', '65536', '-1', 'x')), '--threads': Wrong('invalid int value|from 1', ('0', '-1', 'x', '1.5'))}),
    'detector_costs': ({}, {'--markdown': OUT_FILE}),
    'draw_poses': ({'config': TOY, 'checkpoint': 'weights.pth', '--out-dir': 'out'}, {
        'config': CONFIG, '--cfg-options': CFG_OPTIONS, 'checkpoint': 'tests/test_apis.py gives another one',
        '--out-dir': 'tests/test_apis.py gives another one', '--count': COUNT}),
    'export': ({'config': M0, 'checkpoint': 'weights.pth', 'out': 'out.onnx'}, {
        'config': CONFIG, '--cfg-options': CFG_OPTIONS, 'checkpoint': CHECKPOINT, 'out': Wrong(
            'name one that ends in .onnx|is not writable|is also the input', (
                'out.pth', 'out', 'file/out.onnx')),
        '--size': SIZE, '--open-size': FLAG, '--batch': Wrong('invalid int value|at least 1', ('0', '-1', 'x', '1.5')),
        '--open-batch': FLAG, '--backbone': FLAG, '--raw': FLAG, '--normalized': FLAG,
        '--image': Wrong('is no image that OpenCV can read', ('nothing.png', 'folder', 'file')),
        '--int8': Wrong('name a folder of images|name one of images', ('nothing', 'folder', 'file')),
        '--weights': CHOICE}),
    'find_poses': ({'source': 'images', '--detector': ['a', 'b'], '--pose': ['a', 'b'], '--out-dir': 'out'}, {
        'source': Wrong('does not exist|holds no image', ('nothing', 'folder')),
        '--detector': Wrong('expected 2 arguments|does not exist', ('a', ['nothing.py', 'a.pth'])),
        '--pose': 'tests/test_apis.py gives others', '--out-dir': 'tests/test_apis.py gives others',
        '--json': OUT_FILE, '--person': INTEGER, '--box-threshold': SCORE, '--keypoint-threshold': SCORE,
        '--device': Wrong("name one that is there, such as 'cpu'", ('gpu', 'cuda:99'))}),
    'get_flops': ({'config': M0}, {
        'config': CONFIG, '--cfg-options': CFG_OPTIONS,
        '--shape': Wrong('invalid int value|must be positive', (['x', '64'], ['64', '0'], ['-64', '64']))}),
    'micronet_runtime': ({'files': ['detector.onnx', 'images'], '--json': 'out.json'}, {
        'files': Wrong('give one model or two|name an exported ONNX|name an image, a video or a folder|is no model', (
            ['detector.onnx'], ['nothing.onnx', 'images'], ['file', 'images'], ['detector.onnx', 'nothing'])),
        '--out-dir': OUT_DIR, '--json': OUT_FILE, '--camera': Wrong('is no number of a camera', ([], )),
        '--threads': Wrong('invalid int value|give a number from 1', ('0', '-1', 'x', '1.5')),
        '--batch-size': Wrong('invalid int value|give a number from 1', ('0', '-1', 'x', '1.5')),
        '--threshold': SCORE, '--keypoint-threshold': SCORE, '--show-model': FLAG}),
    'make_digits': ({'root': 'new'}, {
        'root': Wrong('name a new or an empty folder', ('images', 'file', 'file/below'))}),
    'make_figures': ({'root': 'new'}, {
        'root': Wrong('name an empty or a new folder|is no folder', ('images', 'file', 'file/below')),
        '--train': COUNT, '--val': COUNT, '--seed': NATURAL}),
    'model_index': ({}, {'--out-dir': OUT_DIR, '--only': CHOICE}),
    'paper_figures': ({}, {'--out-dir': OUT_DIR, '--only': NUMBER}),
    'paper_tables': ({}, {'--table': CHOICE, '--json': OUT_FILE, '--markdown': OUT_FILE}),
    'print_network': ({'arch': 'm0'}, {'arch': Wrong('is unknown; use one of', ('m9', '', 'M')), '--size': COUNT}),
    'profile_plan': ({'network': 'm0'}, {'network': CHOICE, '--passes': COUNT, '--markdown': OUT_FILE}),
    'publish_checkpoint': ({'source': 'weights.pth', 'target': 'out.pth'}, {
        'source': Wrong('does not exist|is a folder|is broken', ('nothing.pth', 'folder', 'file', 'cut.pth')),
        'target': Wrong('written to .pth or .safetensors files|is not writable', ('out.onnx', 'file/out.pth')),
        '--ema': FLAG, '--no-ema': FLAG}),
    'search_widths': ({}, {'--table': NUMBER, '--most': COUNT}),
    'test': ({'config': TOY, 'checkpoint': 'weights.pth'}, {
        **COMMON, 'checkpoint': CHECKPOINT, '--out': Wrong('name a file that ends in .pkl|is not writable', (
            'out.json', 'file/out.pkl')), '--show-dir': Wrong('needs default_hooks.visualization', ('out', )),
        '--deploy': FLAG, '--engine': CHOICE}),
    'test_exported': ({'config': M0, 'model': 'nothing.onnx'}, {
        'config': CONFIG, '--cfg-options': CFG_OPTIONS, 'model': 'tests/test_evaluation.py gives others',
        '--json': 'tests/test_evaluation.py gives others', '--threads': INTEGER,
        '--work-dir': 'written to where annotations lack something alone'}),
    'train': ({'config': TOY}, {
        **COMMON, '--resume': RESUMED, '--amp': CHOICE, '--auto-scale-lr': Wrong('needs auto_scale_lr=', ([], ))}),
    'trained_page': ({'--commit': 'a', '--machine': 'a'}, {
        '--add': Wrong('give the work dir of a training', ('nothing', 'folder', 'file')), '--commit': TEXT,
        '--machine': TEXT}),
    'visualize_shift_max': ({'config': M0, 'checkpoint': 'weights.pth', 'out': 'out.png'}, {
        'config': CONFIG, '--cfg-options': CFG_OPTIONS, 'checkpoint': CHECKPOINT, 'out': Wrong(
            'name one that ends in .png, .svg or .pdf', ('out.txt', 'out')),
        '--image': Wrong('is no image that OpenCV can read', ('nothing.png', 'folder', 'file')), '--size': SIZE}),
}
HOSTS = dict(micronet_runtime='onnx', make_digits='sklearn', benchmark_exported='onnxruntime',
             find_poses='mmpose', draw_poses='mmpose', test_exported='onnxruntime', profile_plan='mmpretrain')
ASIDE = {'without_avx512': 'takes a command, and no options'}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in, with a config, pictures, weights, and what is none of them."""
    write_toy(tmp_path, images=2)
    (tmp_path / 'file').write_text('neither')
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'broken.py').write_text('model = dict(')
    for name, arch in (('weights', 'm0'), ('m3', 'm3')):
        torch.save(dict(state_dict=MicroNet(arch).state_dict()), tmp_path / f'{name}.pth')
    whole = (tmp_path / 'm3.pth').read_bytes()
    (tmp_path / 'cut.pth').write_bytes(whole[:len(whole) // 2])
    with suppress(ImportError):
        from tiny_onnx import write_model
        write_model(tmp_path / 'detector.onnx', 'detection')
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    MMLogger._instance_dict.clear()  # a logger keeps the stream that pytest gave to one test


def words(option, value):
    """An argument as it stands on a command line."""
    values = [value] if isinstance(value, str) else value
    return [option, *values] if option.startswith('-') else values


def run(tool, arguments, monkeypatch):
    monkeypatch.setattr(sys, 'argv', [tool, *arguments])
    if tool == 'micronet_runtime':
        runpy.run_module(tool, run_name='__main__')
    runpy.run_path(str(TOOLS / f'{tool}.py'), run_name='__main__')


def mistake(tool, arguments, monkeypatch):
    """The line with which a tool ends that was given a wrong config."""
    with pytest.raises(SystemExit) as ended:
        run(tool, arguments, monkeypatch)
    line = ended.value.code
    assert line.startswith('error: ') and '\n' not in line
    return line


CASES = [(tool, option) for tool, (_, options) in TABLE.items() for option, wrong in options.items()
         if isinstance(wrong, Wrong)]


@pytest.mark.parametrize(('tool', 'option'), CASES, ids=str)
def test_a_wrong_option_ends_with_one_line(tool, option, place, monkeypatch, capsys):
    pytest.importorskip(HOSTS.get(tool, 'torch'))
    needed, options = TABLE[tool]
    allowed, values = options[option]
    for value in values:
        arguments = {**needed, option: value}
        with pytest.raises(SystemExit) as ended:
            run(tool, [word for name, given in arguments.items() for word in words(name, given)], monkeypatch)
        code, printed = ended.value.code, capsys.readouterr().err
        assert isinstance(code, str) or code == 2, code
        line = code if isinstance(code, str) else printed.splitlines()[-1]
        given = [option, *([value] if isinstance(value, str) else value)]
        assert 'error: ' in line and '\n' not in line and 'Traceback' not in printed, line
        # Of a file in what is no folder, the latter is named.
        assert re.search(allowed, line) and any(each.partition('/')[0] in line for each in given), (value, line)


class Parsed(BaseException):
    """Carries the parser of a tool out of it."""


def parser_of(tool, monkeypatch):
    def stop(self, *args, **kwargs):
        raise Parsed(self)

    with monkeypatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, 'parse_args', stop)
        with pytest.raises(Parsed) as stopped:
            run(tool, [], patch)
    return stopped.value.args[0]


def test_every_tool_has_a_row():
    assert {path.stem for path in TOOLS.glob('*.py') if path.name[0] != '_'} == {*TABLE, *ASIDE} - {'micronet_runtime'}


@pytest.mark.parametrize('tool', TABLE)
def test_every_option_has_a_row(tool, monkeypatch):
    pytest.importorskip(HOSTS.get(tool, 'torch'))
    actions = [action for action in parser_of(tool, monkeypatch)._actions if action.dest != 'help']
    assert {(action.option_strings or [action.dest])[0] for action in actions} == {*TABLE[tool][1]}


@pytest.mark.parametrize(('settings', 'message'), [
    ("model = dict(backbone=dict(archh='m3'))", 'backbone: MicroNet takes no archh; did you mean arch? It takes'),
    ("model = dict(head=dict(hiden_channels=3))", 'head: MicroNetClsHead takes no hiden_channels; did you mean'),
    ('model = dict(backbone=dict(J=0))', 'model.backbone: J=0 of MicroNet must be a whole number of at least 1.'),
    ("model = dict(backbone=dict(width='1.0'))", "model.backbone: width='1.0' of MicroNet must be a number above 0."),
    ("custom_hooks = [dict(type='FreezeNormHook', begin=3)]", 'custom_hooks.0: begin=3 of FreezeNormHook must be'),
    ("custom_hooks = [dict(type='WarmUpHook', start=3)]", 'custom_hooks.0: WarmUpHook takes no start; it takes'),
    ("tta = [dict(type='LoadImageOrSkip', skipp=False)]", 'tta.0: LoadImageOrSkip takes no skipp; did you mean skip?'),
    ("model = dict(backbone=dict(arch='m9'))", "arch='m9' is unknown; use one of"),
    ("model = dict(backbone=dict(groups=[3]))", 'model.backbone: groups=[3] of MicroNet must be a whole number'),
    ("model = dict(backbone=dict(type='MicroNett'))", "type='MicroNett' of the config is not in the registry"),
    ("model = dict(neck=dict(type='GlobalAveragePooling', dims=2))", "unexpected keyword argument 'dims'"),
])
def test_a_misspelt_setting_ends_with_one_line(settings, message, place, monkeypatch):
    pytest.importorskip('mmpretrain')
    (place / 'misspelt.py').write_text(f"_base_ = 'micronet_mm::{M0}.py'\n{settings}")
    assert message in mistake('get_flops', ['misspelt.py'], monkeypatch)


@pytest.mark.parametrize(('settings', 'message'), [
    ("model = dict(type='ToyModell')", "type='ToyModell' of the config is not in the registry"),
    ('model = dict(dropout=2)', 'dropout=2 of MicroNetClassifier must be a number from 0 to 1.'),
    ('model = dict(archh=2)', "unexpected keyword argument 'archh'"),
    ("custom_hooks = [dict(type='InvalidLossHook', intervall=2)]", 'takes no intervall; did you mean interval?'),
    ("custom_hooks = [dict(type='InvalidLossHok')]", "type='InvalidLossHok' of the config is not in the registry"),
])
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_training_does_not_begin_with_a_misspelt_setting(tool, settings, message, place, monkeypatch):
    (place / TOY).write_text(f"_base_ = './toy_base.py'\n{settings}\n")
    assert message in mistake(tool, [TOY, *['weights.pth'] * (tool == 'test')], monkeypatch)


@pytest.mark.parametrize(('option', 'message'), [
    ('dataset.data_rot=images', "unexpected keyword argument 'data_rot'"),
    ('dataset.type=ToyDatset', "type='ToyDatset' of the config is not in the registry"),
    ('sampler.shufle=True', "unexpected keyword argument 'shufle'"),
    ('dataset.pipeline.1.type=ToyFlop', "type='ToyFlop' of the config is not in the registry"),
])
@pytest.mark.parametrize('tool', ['train', 'test'])
def test_nothing_begins_with_a_dataset_that_cannot_be_built(tool, option, message, place, monkeypatch):
    (place / TOY).write_text("""_base_ = './toy_base.py'
test_dataloader = dict(batch_size=1, num_workers=0, dataset={{_base_.dataset}}, sampler=dict(
    type='DefaultSampler', shuffle=False))
test_cfg, test_evaluator = dict(), dict(type='ToyMetric')
""")
    torch.save(ToyModel().state_dict(), 'toy.pth')
    arguments = [TOY, *['toy.pth'] * (tool == 'test'), '--cfg-options', f'{tool}_dataloader.{option}']
    assert message in mistake(tool, arguments, monkeypatch)


@pytest.mark.parametrize(('text', 'message', 'line'), [
    ("""
from mmengine.registry import MODELS
from torch import nn

@MODELS.register_module()
class OwnModel(nn.Module):
    def __init__(self):
        super().__init__()
        raise ValueError('a fault of mine')
""", 'a fault of mine', 9),
    ('\nimport json\njson.loads("{")\n', 'Expecting property name', 3),
    ('import no_such_module', "Failed to import own: No module named 'no_such_module'", 1),
    ('import numpy\n\nnumpy.stack([])\n', 'need at least one array to stack', 3),
])
def test_an_error_in_code_of_one_s_own_tells_its_place(text, message, line, place, monkeypatch):
    monkeypatch.syspath_prepend(place)
    (place / 'own.py').write_text(text)
    (place / TOY).write_text("_base_ = './toy_base.py'\ncustom_imports = dict(imports=['own', 'toy'])\n"
                             "model = dict(_delete_=True, type='OwnModel')\n")
    try:
        assert re.search(rf'{message}.* \({place / "own.py"}, line {line}\)$', mistake('train', [TOY], monkeypatch))
    finally:
        sys.modules.pop('own', None)


def test_an_error_in_a_host_tells_its_place(place, monkeypatch):
    (place / TOY).write_text("_base_ = './toy_base.py'\ntest_cfg = dict()\n")
    assert re.search(r'all None or not None.* \(.*runner\.py, line \d+\)$', mistake('train', [TOY], monkeypatch))
