"""The networks compute what the released implementation computes."""
from contextlib import nullcontext

import pytest
import torch
from released import ARCHS, expected, normal

from micronet_mm.checkpoint import key_map
from micronet_mm.models import ARCHS as TABLES
from micronet_mm.models import MicroNet, MicroNetClassifier
from micronet_mm.ops import reference_only

PARAMETERS = dict(m0=1_019_590, m1=1_777_587, m2=2_393_876, m3=2_622_960)


def relative_error(actual, reference):
    reference = torch.as_tensor(reference)
    return ((actual - reference).norm() / reference.norm()).item()


def network(arch, path=None):
    """Backbone and classifier, as one module with the checkpoint's names."""
    backbone = MicroNet(arch, out_indices=(0, 1, 2, 3))
    head = torch.nn.Module()
    head.classifier = MicroNetClassifier(backbone.out_channels[-1], TABLES[arch].classifier, dropout=0.0)
    model = torch.nn.ModuleDict(dict(backbone=backbone, head=head))
    if path:
        model.load_state_dict(torch.load(path)['state_dict'])
    return model


@pytest.mark.parametrize('arch', PARAMETERS)
def test_parameter_count_is_exact(arch):
    assert sum(p.numel() for p in network(arch).parameters()) == PARAMETERS[arch]


@pytest.mark.parametrize('arch', ARCHS)
def test_every_block_matches(arch, converted):
    model = network(arch, converted[arch]).eval()
    backbone, golden = model['backbone'], expected(arch)
    outputs = []
    for module in (backbone.stem, *(block for stage in backbone.stages for block in stage)):
        module.register_forward_hook(lambda module, args, output: outputs.append(output))
    with torch.no_grad():
        stages = backbone(normal(2, 1, 3, 224, 192))
    names = sorted(name for name in golden if name.startswith('features'))
    assert len(names) == len(outputs)
    for name, output in zip(names, outputs):
        step = max(1, output.shape[2] // 14)
        assert relative_error(output[:, :, ::step, ::step], golden[name]) < 1e-4, name
    assert any(stages[-1] is output for output in outputs)


@pytest.mark.parametrize('arch', ARCHS)
def test_logits_match(arch, converted):
    model = network(arch, converted[arch]).eval()
    with torch.no_grad():
        logits = model['head'].classifier(model['backbone'](normal(1, 2, 3, 224, 224))[-1])
    assert (logits - torch.as_tensor(expected(arch)['logits_224_seed1'])).abs().max() < 1e-3


def loss_and_gradient_norms(arch, path, dtype, noise=0.0, seed=0):
    model = network(arch, path).train().to(dtype)
    image = normal(3, 4, 3, 128, 128).to(dtype)
    image = image * (1 + noise * torch.randn(image.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)))
    logits = model['head'].classifier(model['backbone'](image)[-1])
    loss = (logits * normal(4, 4, 1000).to(dtype)).sum()
    loss.backward()
    return loss.item(), {name: p.grad.norm().item() for name, p in model.named_parameters()}


@pytest.mark.parametrize('implementation', [nullcontext, reference_only])
@pytest.mark.parametrize('arch', ARCHS)
def test_training_loss_and_gradients_match(arch, implementation, converted):
    """Double precision agrees with the released model. Single precision may put a unit on the other side of a kink of
    ReLU6 or of the maximum, which moves gradients by almost a percent. How far that can go is
    seen in double precision, on images that differ from the golden one by the rounding of a few layers.
    """
    golden = expected(arch)
    with implementation():
        loss, gradients = loss_and_gradient_norms(arch, converted[arch], torch.float32)
        exact_loss, exact = loss_and_gradient_norms(arch, converted[arch], torch.float64)
        rounded = [loss_and_gradient_norms(arch, converted[arch], torch.float64, 1e-6, seed)[1] for seed in range(5)]
    assert [loss, exact_loss] == pytest.approx([golden['train_loss_seed3_4'].item()] * 2, rel=1e-3)
    names = {ours: released for released, ours in key_map(arch).items()}
    for ours, precise in exact.items():
        reference = golden[f'gradnorm/{names[ours]}'].item()
        if precise < 1e-9:  # a bias before BN: its gradient is zero, and in single precision rounding noise
            assert max(gradients[ours], reference) < 1e-3, ours
        else:
            assert precise == pytest.approx(reference, rel=1e-3), ours
            norms = [precise, *(run[ours] for run in rounded)]
            assert min(norms) * (1 - 1e-3) < gradients[ours] < max(norms) * (1 + 1e-3), ours
