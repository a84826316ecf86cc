"""Exported files in 8 bits."""
import json
import sys

import cv2
import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

import onnx
from onnx import numpy_helper

from micronet_mm.commands import calibration, export
from micronet_mm.deploy.export import label, open_session, to_onnx
from micronet_mm.deploy.fold import switch_to_deploy
from micronet_mm.deploy.functions import Features
from micronet_mm.deploy.parity import agreement
from micronet_mm.deploy.quantize import choose, leading_to_maps, quantize
from micronet_mm.models import MicroNet, MicroNetClassifier
from micronet_runtime import Classifier, Model

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning', 'ignore::UserWarning')
DESCRIPTION = dict(
    format=1, task='classification', arch='m0', version='0.1.0', classes=list('abcdefghij'), preprocess=[],
    input=dict(size=[64, 64], batch=1, color='rgb', mean=[0, 0, 0], std=[1, 1, 1], normalization='inside'))


class Network(nn.Module):
    """A backbone, a dense convolution and a classifier: something of every kind."""

    output_names = ('scores', )

    def __init__(self):
        super().__init__()
        self.backbone, self.head = MicroNet('m0'), MicroNetClassifier(64, 160, 10)
        self.dense = nn.Conv2d(self.backbone.out_channels[-1], 64, 1)

    def forward(self, image):
        return (self.head(self.dense(self.backbone(image / 255)[-1]).relu()).softmax(1), )


@pytest.fixture(scope='module')
def content():
    torch.manual_seed(0)
    network = Network()
    for parameter in network.parameters():  # coefficients that differ from input to input
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.2)
    graph = to_onnx(switch_to_deploy(network), (64, 64))
    label(graph, DESCRIPTION)
    return graph.SerializeToString()


@pytest.fixture(scope='module')
def images():
    rng = np.random.default_rng(0)
    return [rng.uniform(0, 255, (1, 3, 64, 64)).astype(np.float32) for _ in range(8)]


@pytest.fixture(scope='module')
def quantized(content, images):
    return quantize(content, [dict(image=image) for image in images])


def operators(graph):
    """Of those with weights: the name of each, and how its weight comes about."""
    made = {output: node for node in graph.graph.node for output in node.output}
    return {node.name: made[node.input[1]].op_type if node.input[1] in made else 'float'
            for node in graph.graph.node if node.op_type in ('Conv', 'Gemm')}


def test_metadata_are_kept_and_say_what_was_done(quantized):
    graph = onnx.load_from_string(quantized.content)
    assert {entry.key: json.loads(entry.value) for entry in graph.metadata_props} == {
        'micronet_mm': {**DESCRIPTION, 'quantization': 'int8'}}
    assert graph.producer_name == 'micronet-mm'
    assert {node.domain for node in graph.graph.node} == {''} == {opset.domain for opset in graph.opset_import}


def test_what_is_computed_in_int8_and_what_is_only_stored(quantized):
    kinds = operators(onnx.load_from_string(quantized.content))
    assert [name for name, kind in kinds.items() if kind == 'DequantizeLinear'] == ['/dense/Conv', '/head/fc1/Gemm']
    coefficients = {name: kind for name, kind in kinds.items() if 'squeeze' in name or 'excite' in name}
    assert len(coefficients) == 30 and set(coefficients.values()) == {'Mul', 'float'}
    assert next(kind for name, kind in kinds.items() if 'stem' in name) == 'float'
    assert quantized.account.startswith('in int8: 1 convolution and 1 linear layer (dense')


def test_maps_are_rounded_before_and_after_the_large_layers_alone(quantized):
    nodes = onnx.load_from_string(quantized.content).graph.node
    assert sum(node.op_type == 'QuantizeLinear' for node in nodes) <= 4


def test_weights_are_within_half_a_step(content, quantized):
    before, after = (onnx.load_from_string(each) for each in (content, quantized.content))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in after.graph.initializer}
    stored = [name.removesuffix('_8bit') for name in weights if name.endswith('_8bit')]
    assert len(stored) > 10 and all(weights[f'{name}_8bit'].dtype == np.int8 for name in stored)
    for tensor in before.graph.initializer:
        if tensor.name in stored:
            scale = weights[f'{tensor.name}_scale']
            error = np.abs(weights[f'{tensor.name}_8bit'] * scale - numpy_helper.to_array(tensor))
            assert (error <= scale * 0.5001).all() and scale.size == scale.shape[1 if error.ndim == 2 else 0]
    assert len(quantized.content) < 0.6 * len(content)


def test_it_runs_in_the_runtime_and_finds_what_the_float_file_finds(content, quantized, images, tmp_path):
    (tmp_path / 'int8.onnx').write_bytes(quantized.content)
    model = Model(tmp_path / 'int8.onnx')
    assert model.metadata.quantization == 'int8' and 'quantization    int8' in model.metadata.describe()
    expected = [open_session(content).run(None, {'image': image})[0] for image in images]
    found = [model.run(image)['scores'] for image in images]
    np.testing.assert_allclose(found, expected, atol=0.02)
    picture = images[0][0].transpose(1, 2, 0)[..., ::-1].astype(np.uint8)
    assert Classifier(model)(picture)[0].label == expected[0].argmax()


def test_a_network_without_large_layers_is_stored_in_8_bits_alone(images):
    graph = to_onnx(switch_to_deploy(Features(MicroNet('m0', out_indices=(3, )))), (64, 64))
    label(graph, {**DESCRIPTION, 'task': 'features'})
    found = quantize(graph.SerializeToString(), [dict(image=image) for image in images])
    kinds = operators(onnx.load_from_string(found.content))
    assert set(kinds.values()) == {'Mul', 'float'} and found.account.startswith('in int8: none')


def test_a_linear_layer_before_a_map_gives_coefficients(content):
    graph = onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    leading = leading_to_maps(graph)
    outputs = {node.name: node.output[0] for node in graph.graph.node if node.op_type == 'Gemm'}
    assert {name for name, output in outputs.items() if output not in leading} == {'/head/fc1/Gemm', '/head/fc2/Gemm'}
    assert {node.op_type for node in choose(graph).int8} == {'Conv', 'Gemm'}


def test_no_images(content):
    with pytest.raises(ValueError, match='no image was given to measure ranges on'):
        quantize(content, [])


# How far two files are apart


def test_agreement_on_classes():
    expected = [dict(scores=np.array([[0.9, 0.1], [0.4, 0.6]]))]
    assert agreement('classification', expected, expected) == (
        'the same class for 2 of 2 images, scores 0 apart (mean)')
    found = [dict(scores=np.array([[0.4, 0.6], [0.4, 0.6]]))]
    assert agreement('classification', found, expected).startswith('the same class for 1 of 2 images, scores 0.25')


def test_agreement_on_boxes():
    boxes = np.array([[0, 0, 10, 10], [20, 20, 40, 40], [0, 0, 5, 5.]])
    expected = [dict(boxes=boxes, scores=np.array([0.9, 0.5, 0.2]), labels=np.array([0, 1, 0]), images=np.zeros(3))]
    assert agreement('detection', expected, expected).startswith('2 of 2 boxes of scores above 0.3 at IoU 0.5')
    moved = [{**expected[0], 'boxes': boxes + np.array([[6], [2], [0]]), 'scores': np.array([0.9, 0.4, 0.2])}]
    assert agreement('detection', moved, expected) == (
        '1 of 2 boxes of scores above 0.3 at IoU 0.5, their scores 0.1 apart (mean)')
    other = [{**expected[0], 'images': np.ones(3)}]
    assert agreement('detection', other, expected) == '0 of 2 boxes of scores above 0.3 at IoU 0.5'
    none = [{name: value[:0] for name, value in expected[0].items()}]
    assert agreement('detection', expected, none) == 'no box scores above 0.3'


def test_agreement_on_keypoints():
    expected = [dict(keypoints=np.zeros((1, 17, 2)), scores=np.full((1, 17), 0.5))]
    found = [dict(keypoints=np.full((1, 17, 2), [3, 4]), scores=np.full((1, 17), 0.5))]
    assert agreement('keypoints', found, expected) == (
        '17 keypoints of scores above 0.3 are 5 pixels of the input apart (mean), 5 (99 %)')
    assert agreement('keypoints', found, [{**expected[0], 'scores': np.zeros((1, 17))}]) == (
        'no keypoint scores above 0.3')


# The folder


@pytest.fixture
def pictures(tmp_path):
    """Make a folder of so many pictures, in folders of their classes."""

    def make(count):
        for index in range(count):
            folder = tmp_path / 'pictures' / 'ab'[index % 2]
            folder.mkdir(parents=True, exist_ok=True)
            noise = np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8)
            cv2.imwrite(str(folder / f'{index:04}.png'), noise)
        return tmp_path / 'pictures'
    return make


def to_int8(content, folder):
    return calibration.to_int8(content, folder, calibration.calibration_images(folder))


def test_images_are_prepared_as_the_runtime_prepares_them(content, pictures, monkeypatch):
    given = []

    def quantize(content, feeds):
        given.extend(feed['image'] for feed in feeds)
        return content, ''

    monkeypatch.setattr(calibration, 'quantize', quantize)
    folder = pictures(9)
    to_int8(content, folder)
    expected = cv2.imread(str(folder / 'a' / '0002.png'))[..., ::-1].transpose(2, 0, 1)[None]
    assert len(given) == 9 and np.array_equal(given[1], expected) and given[1].dtype == np.float32


def test_a_broken_image_is_named_and_few_are_warned_of(content, pictures, capsys):
    folder = pictures(3)
    (folder / 'a' / '0001.png').write_bytes(b'no image')
    quantized, said = to_int8(content, folder)
    broken, warning = capsys.readouterr().err.splitlines()
    assert broken == f'the image {folder}/a/0001.png cannot be decoded and is skipped'
    assert warning.startswith('warning: ranges are measured on 3 images alone')
    assert 'the same class for 3 of 3 images' in said and len(quantized) < len(content)


def test_of_many_images_some_are_taken_evenly(pictures, monkeypatch):
    monkeypatch.setattr(calibration, 'MOST', 5)
    names = [file.name for file in calibration.calibration_images(pictures(20))]
    assert names == ['0000.png', '0008.png', '0016.png', '0005.png', '0013.png']


def test_folders_without_images(content, tmp_path):
    with pytest.raises(FileNotFoundError, match='nowhere does not exist; name a folder of images'):
        calibration.calibration_images(tmp_path / 'nowhere')
    file = tmp_path / 'file.txt'
    file.write_text('text')
    with pytest.raises(ValueError, match='is no folder; name one of images'):
        calibration.calibration_images(file)
    with pytest.raises(ValueError, match='holds no image; name a folder'):
        calibration.calibration_images(tmp_path)
    (tmp_path / 'broken.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match='holds no image that can be read; name another folder'):
        to_int8(content, tmp_path)


def test_the_tool_refuses_maps_and_features(monkeypatch, capsys):
    for option in ('--raw', '--backbone'):
        monkeypatch.setattr(sys, 'argv', ['export.py', 'c.py', 'c.pth', 'o.onnx', '--int8', 'pictures', option])
        with pytest.raises(SystemExit):
            export.parse_args()
        assert capsys.readouterr().err.splitlines()[-1].endswith('leave --raw and --backbone out')
