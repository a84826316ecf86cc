"""Exported with sizes left open, a network computes the same at other ones."""
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from test_double_backward import Last
from torch import nn
from torch.export import Dim

from micronet_mm.layers import ChannelRoll, ChannelShuffle
from micronet_mm.models import MicroNet, MicroNetClassifier

SHAPES = ((1, 3, 64, 64), (3, 3, 64, 96), (2, 3, 61, 97), (1, 3, 33, 47))
OPEN = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
BOTH = {0: 'n', 2: 'h', 3: 'w'}
ALL = dict(out_indices=(0, 1, 2, 3))
OPTIONS = {
    'm0': dict(arch='m0', **ALL),
    'm3': dict(arch='m3', **ALL),
    'm0 of the keypoint models': dict(arch='m0', spatial=True, output_stride=16, shift='paper', **ALL),
    'm0 with J = K = 3': dict(arch='m0', J=3, K=3, **ALL),
    'm0 with static Shift-Max': dict(arch='m0', coefficients='static', **ALL),
}


def network(name, with_classifier=False):
    """With coefficients that differ from input to input."""
    torch.manual_seed(0)
    backbone = MicroNet(**OPTIONS[name])
    for parameter in backbone.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.3)
    if not with_classifier:
        return backbone.eval()
    return nn.Sequential(backbone, Last(), MicroNetClassifier(backbone.out_channels[-1], 16, 10)).eval()


def check(path, model, shapes=SHAPES):
    """ONNX Runtime gives what PyTorch gives, by operators of ONNX."""
    content = onnx.load(path)
    assert {node.domain for node in content.graph.node} == {''} and not content.functions
    session = onnxruntime.InferenceSession(path)
    name = session.get_inputs()[0].name
    for shape in shapes:
        x = torch.randn(shape)
        with torch.no_grad():
            expected = model(x)
        expected = expected if isinstance(expected, tuple) else (expected, )
        for ours, theirs in zip(session.run(None, {name: x.numpy()}), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning')
@pytest.mark.parametrize(('name', 'with_classifier', 'axes'), [
    ('m0', True, BOTH), ('m0 of the keypoint models', False, BOTH), ('m0 with J = K = 3', False, BOTH),
    ('m0 with static Shift-Max', False, BOTH),
    ('m3', True, BOTH), ('m3', False, BOTH), ('m3', False, {0: 'n'}), ('m3', False, {2: 'h', 3: 'w'}),
], ids=str)
def test_the_exporter_by_tracing(name, with_classifier, axes, tmp_path):
    """With the input's open axes alone, as many leave it: a runtime then takes the outputs' sizes for fixed ones."""
    model, path = network(name, with_classifier), tmp_path / 'network.onnx'
    outputs = ['y'] if with_classifier else ['stride4', 'stride8', 'stride16', 'stride32']
    torch.onnx.export(model, (torch.randn(2, 3, 64, 64), ), str(path), dynamo=False, input_names=['x'],
                      output_names=outputs, dynamic_axes=dict(x=axes))
    shapes = [tuple(size if axis in axes else fixed for axis, (size, fixed) in enumerate(zip(shape, (2, 3, 64, 64))))
              for shape in SHAPES]
    check(path, model, shapes)
    assert not {node.op_type for node in onnx.load(path).graph.node} & {'Shape', 'Slice', 'Split', 'Transpose'}


@pytest.mark.skipif(torch.__version__ < '2.7', reason='the exporter of PyTorch 2.6 fails on BN with this onnxscript')
@pytest.mark.parametrize(('name', 'with_classifier'), [
    ('m0 of the keypoint models', False),
    pytest.param('m3', True, marks=pytest.mark.slow),
])
def test_the_exporter_by_capture(name, with_classifier, tmp_path):
    model, path = network(name, with_classifier), tmp_path / 'network.onnx'
    torch.onnx.export(model, (torch.randn(2, 3, 64, 64), ), path, dynamo=True, dynamic_shapes=(OPEN, ), verbose=False)
    check(path, model)
    assert not {node.op_type for node in onnx.load(path).graph.node} & {'Slice', 'Split', 'Transpose'}


@pytest.mark.parametrize('name', ['m0 of the keypoint models'])
def test_a_captured_program(name):
    model = network(name)
    program = torch.export.export(model, (torch.randn(2, 3, 64, 64), ), dynamic_shapes=(OPEN, )).module()
    for shape in SHAPES:
        x = torch.randn(shape)
        torch.testing.assert_close(program(x), model(x), rtol=1e-4, atol=1e-4)


class TwoOutputs(nn.Module):
    """Layers between outputs, as a runtime meets them."""

    def __init__(self, *layers):
        super().__init__()
        self.first, self.second = layers

    def forward(self, x):
        y = self.first(x)
        return y, self.second(y)


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning')
@pytest.mark.parametrize(('make', 'way'), [
    (lambda: (nn.Conv2d(3, 12, 1), ChannelShuffle((3, 4))), 'trace'),
    (lambda: (nn.Conv2d(3, 12, 1), ChannelShuffle((3, 4))), 'script'),
    (lambda: (nn.Conv2d(3, 12, 1), ChannelRoll(3)), 'trace'),
    (lambda: (nn.Conv2d(3, 12, 1), ChannelRoll(3, 2, 'paper')), 'trace'),
    (lambda: (network('m0').stem, network('m0').stages[0]), 'trace'),
    (lambda: (network('m0').stem, network('m0').stages[0]), 'script'),
], ids=['shuffle', 'scripted shuffle', 'roll', 'roll of the paper', 'stage', 'scripted stage'])
def test_layers_behind_an_output(make, way, tmp_path):
    model, path = TwoOutputs(*make()).eval(), tmp_path / 'layers.onnx'
    exported = torch.jit.script(model) if way == 'script' else model
    torch.onnx.export(exported, (torch.randn(2, 3, 64, 64), ), str(path), dynamo=False, input_names=['x'],
                      output_names=['y', 'z'],
                      # Of a script the exporter knows no sizes; undeclared ones are the runtime's guess.
                      dynamic_axes=dict(x=BOTH, y=BOTH, z=BOTH) if way == 'script' else dict(x=BOTH))
    check(path, model)
