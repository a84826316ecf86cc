"""Symbolic traces and what is built on them: quantization, feature extraction."""
import copy
import pickle

import pytest
import torch
from test_double_backward import Last
from torch import nn
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

from micronet_mm.layers import DynamicShiftMax
from micronet_mm.models import MicroNet, MicroNetClassifier


def network(**options):
    """In double precision, with coefficients that differ from input to input."""
    torch.manual_seed(0)
    backbone = MicroNet(**{'arch': 'm0', **options}).double()
    for parameter in backbone.parameters():
        if parameter.dim() == 2:
            nn.init.normal_(parameter, std=0.3)
    return backbone


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('options', [
    dict(), dict(arch='m3'), dict(out_indices=(0, 1, 2, 3)), dict(with_cp=True), dict(spatial=True, output_stride=16),
    dict(J=3, K=3, shift='paper'), dict(J=1, K=1), dict(dynamic=(0, 0, 0)),
], ids=str)
def test_a_symbolic_trace_computes_the_same_at_every_size(options, training):
    backbone = network(**options).train(training)
    traced = torch.fx.symbolic_trace(copy.deepcopy(backbone))
    for graph in (traced, pickle.loads(pickle.dumps(traced))):
        for shape in ((3, 3, 64, 64), (2, 3, 61, 97)):
            x = torch.randn(shape, dtype=torch.double)
            for found, expected in zip(graph(x), copy.deepcopy(backbone)(x), strict=True):
                torch.testing.assert_close(found, expected)


def test_a_symbolic_trace_of_a_classifier_computes_the_same():
    model = nn.Sequential(network(), Last(), MicroNetClassifier(384, 16, 10).double()).eval()
    x = torch.randn(2, 3, 64, 64, dtype=torch.double)
    torch.testing.assert_close(torch.fx.symbolic_trace(model)(x), model(x))


def test_a_symbolic_trace_of_the_keypoint_head_computes_the_same():
    pytest.importorskip('mmpose')
    from micronet_mm.models import MicroHeatmapHead
    head = MicroHeatmapHead(384, 3, widths=(16, 8, 8)).double().eval()
    x = torch.randn(2, 384, 5, 4, dtype=torch.double)
    torch.testing.assert_close(torch.fx.symbolic_trace(head)((x, )), head((x, )))


def quantized(model, x):
    """After calibration on x; the relative error there."""
    with torch.no_grad():
        prepared = prepare_fx(copy.deepcopy(model), get_default_qconfig_mapping(), (x, ))
        prepared(x)
        expected, found = model(x), convert_fx(prepared)(x)
    return (found - expected).norm() / expected.norm()


@pytest.mark.filterwarnings('ignore')  # PyTorch says that another package takes over
@pytest.mark.parametrize('arch', ['m0', 'm3'])
def test_quantization_of_a_network(arch):
    """8 bits: every rounding is up to 1/500 of a tensor's range, and there are dozens one behind the other."""
    backbone = network(arch=arch).float()
    model = nn.Sequential(backbone, Last(), MicroNetClassifier(backbone.out_channels[-1], 64, 10))
    x = torch.randn(16, 3, 64, 64)
    with torch.no_grad():
        for _ in range(30):  # running statistics
            model.train()(x)
    assert quantized(model.eval(), x) < 0.1


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('settings', [dict(), dict(J=1, K=1), dict(spatial=True)], ids=str)
def test_quantization_of_shift_max_keeps_its_coefficients(settings):
    torch.manual_seed(0)
    layer = DynamicShiftMax(16, **settings).eval()
    for fc in (layer.fc1, layer.fc2):
        nn.init.normal_(fc.weight)
    assert quantized(layer, torch.randn(64, 16, 5, 4) + 0.5) < 0.1


def test_torchvision_extracts_features():
    from torchvision.models.feature_extraction import create_feature_extractor
    backbone, x = network(), torch.randn(2, 3, 64, 64, dtype=torch.double)
    extractor = create_feature_extractor(backbone, {'stages.2.1.compress.bn': 'a', 'stages.3.2.expand.bn': 'b'}).eval()
    seen, backbone = [], backbone.eval()
    for layer in (backbone.stages[2][1].compress, backbone.stages[3][2].expand):
        layer.register_forward_hook(lambda _, args, y: seen.append(y))
    backbone(x)
    for found, expected in zip(extractor(x).values(), seen, strict=True):
        torch.testing.assert_close(found, expected)
