"""Keypoints: spatial attention, the heads, training through mmpose, and bad input."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.utils import get_installed_path
from torch import nn

from micronet_mm.datasets import write_figures
from micronet_mm.layers import DynamicShiftMax
from micronet_mm.ops import channel_roll

pytest.importorskip('mmpose')

CONFIGS = ROOT / 'configs'
NAMES = sorted(path.stem for path in CONFIGS.glob('keypoint_*.py'))


def attention_by_formula(layer, x):
    """Dynamic Shift-Max whose coefficients at every position are scaled by DY-ReLU-C's attention, as written."""
    h, w = x.shape[2:]
    logits = (layer.attention.conv.weight[0, :, 0, 0, None, None] * x).sum(1) + layer.attention.conv.bias
    weights = torch.exp(logits / 10)
    weights = weights / weights.sum((1, 2), keepdim=True)
    pi = torch.minimum(h * w / 3 * weights, torch.ones(()))
    coefficients = layer.coefficients(x.mean((2, 3)))[..., None, None] * pi[:, None, None, None]
    fusions = [sum(coefficients[:, k, j] * channel_roll(x, layer.groups, j) for j in range(layer.J))
               for k in range(layer.K)]
    return torch.stack(fusions).amax(0)


def test_spatial_attention_is_the_formula_values_and_gradients():
    torch.manual_seed(0)
    layer = DynamicShiftMax(12, groups=3, reduction=4, init=((1, 0.5), (0, 0.5)), spatial=True).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    nn.init.normal_(layer.attention.conv.weight, std=8)  # so that some positions reach the limit of 1 and others do not
    x = torch.randn(2, 12, 5, 4, dtype=torch.double, requires_grad=True)
    pi = layer.attention(x)
    assert (pi == 1).any() and (pi < 0.5).any()
    weight = torch.randn(2, 12, 5, 4, dtype=torch.double)
    variables = [x, *layer.parameters()]
    ours, theirs = layer(x), attention_by_formula(layer, x)
    torch.testing.assert_close(ours, theirs)
    for a, b in zip(torch.autograd.grad((ours * weight).sum(), variables),
                    torch.autograd.grad((theirs * weight).sum(), variables)):
        torch.testing.assert_close(a, b)


def test_spatial_attention_in_the_backbone():
    backbone = MODELS.build(dict(type='MicroNet', arch='m0', spatial=True)).eval()
    layers = [m for m in backbone.modules() if isinstance(m, DynamicShiftMax)]
    assert layers and all(layer.attention is not None for layer in layers)
    assert backbone(torch.rand(1, 3, 32, 32))[0].shape == (1, 384, 1, 1)


@pytest.mark.parametrize('name', NAMES)
def test_heads_give_heatmaps_at_stride_4(name):
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.model.backbone.init_cfg = None
    model = build(cfg)
    heatmaps = model(torch.rand(2, 3, 128, 96), None, mode='tensor')
    assert heatmaps.shape == (2, 17, 32, 24)
    heatmaps.square().sum().backward()
    unused = [key for key, parameter in model.named_parameters() if parameter.grad is None]
    assert unused == []
    assert model.head.final_layer.weight.std() < 0.01


def build(cfg):
    from mmengine.registry import init_default_scope
    init_default_scope('mmpose')
    model = MODELS.build(cfg.model)
    model.init_weights()
    return model


def test_head_refuses_what_does_not_fit():
    from micronet_mm.models import MicroHeatmapHead
    with pytest.raises(ValueError, match=r'strides=\(16, 4\) must be those of the blocks, each the one before or half'):
        MicroHeatmapHead(24, 17, widths=(16, 16), strides=(16, 4), kernel_sizes=(3, 3), expansions=((1, 1), ) * 2,
                         ratios=(1, 1))
    with pytest.raises(ValueError, match='as many of each, one per block; got 2 widths, 3 strides'):
        MicroHeatmapHead(24, 17, widths=(16, 16))


@pytest.mark.parametrize('way', ['trace', 'script'])
def test_head_is_exported_to_onnx_without_custom_operators(way, tmp_path):
    onnx, onnxruntime = pytest.importorskip('onnx'), pytest.importorskip('onnxruntime')
    head = build(Config.fromfile(CONFIGS / 'keypoint_micronet_m3.py')).eval().head
    features = torch.randn(1, 864, 8, 6)
    for parameter in head.parameters():  # attention that differs from place to place
        torch.nn.init.normal_(parameter, std=0.05)
    expected = head((features, )).detach()
    compiled = torch.jit.script(head) if way == 'script' else torch.jit.trace(head, ((features, ), ))
    torch.testing.assert_close(compiled((features, )), expected)
    exported = compiled if way == 'script' else head
    axes = {0: 'n', 2: 'h', 3: 'w'}
    torch.onnx.export(exported, ((features, ), ), str(tmp_path / 'head.onnx'), dynamo=False, input_names=['x'],
                      output_names=['y'], dynamic_axes=dict(x=axes, y=axes))
    graph = onnx.load(tmp_path / 'head.onnx')
    assert {node.domain for node in graph.graph.node} == {''}
    session = onnxruntime.InferenceSession(tmp_path / 'head.onnx')
    for shape in ((1, 864, 8, 6), (2, 864, 12, 5)):
        features = torch.randn(shape)
        expected = head((features, )).detach()
        found, = session.run(None, {'x': features.numpy()})
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_head_is_captured_by_torch_export():
    head = build(Config.fromfile(CONFIGS / 'keypoint_micronet_m2.py')).eval().head
    features = torch.randn(1, 768, 8, 6)
    program = torch.export.export(head, ((features, ), ))
    torch.testing.assert_close(program.module()((features, )), head((features, )))


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=12, num_val=6)
    return root


def write_pose_config(path, data, text=''):
    path.write_text(f'''
_base_ = {str(CONFIGS / 'demo' / 'keypoint_micronet_m0_demo.py')!r}
root = {str(data) + '/'!r}
model = dict(head=dict(widths=(32, 16, 16)))
train_dataloader = dict(batch_size=4, dataset=dict(data_root=root))
val_dataloader = dict(dataset=dict(data_root=root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=root + 'annotations/person_keypoints_val.json')
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
{text}''')
    return path


def test_mmpose_s_own_tool_trains_our_config_and_ours_draws_everybody(data, tmp_path):
    config = write_pose_config(tmp_path / 'pose.py', data)
    tool = Path(get_installed_path('mmpose')) / '.mim' / 'tools' / 'train.py'
    run = call(tool, config, '--work-dir', 'w', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert 'coco/AP:' in run.stdout and (tmp_path / 'w' / 'epoch_1.pth').exists()
    run = call(ROOT / 'tools' / 'test.py', config, 'w/epoch_1.pth', '--show-dir', 'drawn', cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    content = json.loads((data / 'annotations' / 'person_keypoints_val.json').read_text())
    names = {image['id']: Path(image['file_name']).stem for image in content['images']}
    people = sorted(names[person['image_id']] for person in content['annotations'] if person['num_keypoints'])
    assert sorted(path.stem.rpartition('_')[0] for path in (tmp_path / 'drawn').iterdir()) == people


def edited(data, folder, edit):
    """The dataset with changed training annotations."""
    content = json.loads((data / 'annotations' / 'person_keypoints_train.json').read_text())
    edit(content)
    (folder / 'annotations').mkdir()
    (folder / 'annotations' / 'person_keypoints_train.json').write_text(json.dumps(content))
    return (f"train_dataloader = dict(dataset=dict(data_root={str(data) + '/'!r}, "
            f"ann_file={str(folder / 'annotations' / 'person_keypoints_train.json')!r}))")


def test_another_number_of_joints_gets_one_line(data, tmp_path):

    def drop_ankles(content):
        for annotation in content['annotations']:
            annotation['keypoints'] = annotation['keypoints'][:-6]

    config = write_pose_config(tmp_path / 'pose.py', data, edited(data, tmp_path, drop_ankles))
    run = call(ROOT / 'tools' / 'train.py', config, cwd=tmp_path)
    assert run.returncode == 1
    message = run.stdout.strip().splitlines()[-1]
    assert message.startswith('error: ') and 'annotates 15 keypoints a person, but the metainfo' in message

    config = write_pose_config(tmp_path / 'pose.py', data, 'model = dict(head=dict(out_channels=5))')
    run = call(ROOT / 'tools' / 'train.py', config, cwd=tmp_path)
    assert 'has 17 keypoints by its metainfo, but the head finds 5' in run.stdout.strip().splitlines()[-1]


def test_a_box_without_area_is_left_out(data, tmp_path):
    people = []

    def flatten_first_box(content):
        content['annotations'][0]['bbox'][3] = 0
        people.append(len([a for a in content['annotations'] if a['num_keypoints']]))

    text = edited(data, tmp_path, flatten_first_box)
    config = write_pose_config(tmp_path / 'pose.py', data, text + '\ntrain_dataloader.update(batch_size=1)')
    run = call(ROOT / 'tools' / 'train.py', config, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-2000:]
    assert f'/{people[0] - 1}]' in run.stdout.replace(' ', '')
