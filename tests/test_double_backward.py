"""Gradients of gradients, as gradient penalties take them."""
from contextlib import nullcontext

import pytest
import torch
from test_deferred import BLOCKS
from test_watched import CHANNELS
from torch import nn

from micronet_mm.models import MicroNet, MicroNetClassifier
from micronet_mm.ops import reference_only


@pytest.mark.parametrize('context', [nullcontext, reference_only], ids=['cpp', 'reference'])
@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('name', BLOCKS)
def test_blocks_can_be_differentiated_twice(name, training, context):
    torch.manual_seed(0)
    block = BLOCKS[name]().double().train(training)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, CHANNELS[name], 3, 4, dtype=torch.double, requires_grad=True)
    with context():
        assert torch.autograd.gradgradcheck(block, (x, ), fast_mode=True)


def penalty(model, x):
    """How far the norms of the gradients at x are from 1, and what the parameters get from that."""
    x = x.clone().requires_grad_()
    gradient, = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    loss = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    loss.backward()
    return loss, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


class Network(nn.Module):

    def __init__(self, backbone, head):
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, x):
        return self.head(self.backbone(x))


def classifier(arch, **options):
    backbone = MicroNet(arch, **options)
    return Network(backbone, nn.Sequential(Last(), MicroNetClassifier(backbone.out_channels[-1], 16, 5, dropout=0)))


class Last(nn.Module):

    def forward(self, features):
        return features[-1]


def keypoints():
    pytest.importorskip('mmpose')
    from micronet_mm.models import MicroHeatmapHead
    return Network(MicroNet('m0', spatial=True, output_stride=16), MicroHeatmapHead(384, 3, widths=(16, 8, 8)))


NETWORKS = {
    'm0': lambda: classifier('m0'),
    'm0 that recomputes': lambda: classifier('m0', with_cp=True),
    'm3': lambda: classifier('m3'),
    'keypoints': keypoints,
}


@pytest.mark.parametrize('training', [True, False], ids=['train', 'eval'])
@pytest.mark.parametrize('name', NETWORKS)
def test_a_gradient_penalty_reaches_the_parameters(name, training):
    torch.manual_seed(0)
    model, x = NETWORKS[name](), torch.randn(3, 3, 48, 48)
    with torch.no_grad():
        for _ in range(20):  # running statistics, without which nothing comes through in eval mode
            model(x)
    loss, gradients = penalty(model.train(training), x)
    assert loss.isfinite() and all(g.isfinite().all() for g in gradients.values())
    assert sum(g.any().item() for g in gradients.values()) > 0.5 * len(list(model.parameters()))
    assert gradients['backbone.stem.vertical.conv.weight'].any()
