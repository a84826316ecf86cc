"""Models by name: in the manner of timm, without timm, and in mmpretrain's hub."""
import pytest
import torch
from mm import ROOT, call
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope, init_default_scope
from released import expected, normal
from torch import nn

import micronet_mm
from micronet_mm.checkpoint import CheckpointError
from micronet_mm.deploy import switch_to_deploy
from micronet_mm.models import ARCHS, MicroNet


def lively(model):
    """With coefficients and statistics that depend on the image, in double precision."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.3)
        elif isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return model.double().eval()


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 96, dtype=torch.double, generator=torch.Generator().manual_seed(1))


def test_every_arch_has_a_name():
    assert micronet_mm.list_models() == sorted(f'micronet_{arch}' for arch in ARCHS)
    assert micronet_mm.list_models('*_sharp') == ['micronet_m1_sharp', 'micronet_m2_sharp', 'micronet_m3_sharp']


@pytest.mark.parametrize('source', ['released', 'converted'])
@pytest.mark.parametrize('arch', ['m0', 'm3'])
def test_pretrained_gives_the_released_logits(arch, source, request):
    path = request.getfixturevalue(source)[arch]
    model = micronet_mm.create_model(f'micronet_{arch}', pretrained=path).eval()
    with torch.no_grad():
        logits = model(normal(1, 2, 3, 224, 224))
    assert (logits - torch.as_tensor(expected(arch)['logits_224_seed1'])).abs().max() < 1e-3


def test_checkpoints_of_mmpretrain_and_of_this_are_the_same(image):
    pytest.importorskip('mmpretrain')
    init_default_scope('mmpretrain')
    theirs = MODELS.build(Config.fromfile(ROOT / 'configs' / 'imagenet_micronet_m0.py').model).double().eval()
    DefaultScope._instance_dict.clear()
    ours = lively(micronet_mm.create_model('micronet_m0'))
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(image), theirs(image))
    assert torch.equal(ours.forward_head(ours.forward_features(image), pre_logits=True),
                       theirs.head.pre_logits(theirs.extract_feat(image)))


@pytest.mark.parametrize('out_indices', [None, 2, (1, 2, 3, 4), (0, 3), (-1, ), (1, )])
@pytest.mark.parametrize('name', micronet_mm.list_models())
def test_feature_maps_are_those_of_the_backbone(name, out_indices, image):
    model = lively(micronet_mm.create_model(name, features_only=True, out_indices=out_indices))
    backbone = MicroNet(name.removeprefix('micronet_'), out_indices=(0, 1, 2, 3)).double().eval()
    backbone.load_state_dict({key.removeprefix('model.backbone.'): value for key, value in model.state_dict().items()},
                             strict=False)
    whole = [backbone.stem(image), *backbone(image)]
    maps, info = model(image), model.feature_info
    for index, found, channels, stride in zip(info.out_indices, maps, info.channels(), info.reduction(), strict=True):
        assert torch.equal(found, whole[index])
        assert found.shape == (2, channels, 64 // stride, 96 // stride)
    assert info.module_name() == [('backbone.stem', *(f'backbone.stages.{i}' for i in range(4)))[index]
                                  for index in info.out_indices]
    model.train()(image)[-1].sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())  # no part is left over


def test_strides_follow_the_output_stride(image):
    model = micronet_mm.create_model('micronet_m0', features_only=True, output_stride=16).double()
    assert model.feature_info.reduction() == [2, 4, 8, 16, 16]
    assert [found.shape[2] for found in model(image)] == [32, 16, 8, 4, 4]


@pytest.mark.parametrize('out_indices', [None, (0, 2), (1, 4)])
def test_feature_maps_of_the_deploy_form_have_their_channels_in_order(out_indices, image):
    model = lively(micronet_mm.create_model('micronet_m0', features_only=True, out_indices=out_indices))
    before = model(image)
    for found, wanted in zip(switch_to_deploy(model)(image), before, strict=True):
        torch.testing.assert_close(found, wanted)


def test_the_deploy_form_refuses_maps_whose_channels_are_not_in_order(image):
    model = lively(micronet_mm.create_model('micronet_m0', num_classes=5))
    before = model(image)
    switch_to_deploy(model)
    torch.testing.assert_close(model(image), before)
    torch.testing.assert_close(model.forward_intermediates(image, (-1, ), intermediates_only=True)[0],
                               model.forward_features(image))
    with pytest.raises(ValueError, match=r'has the feature maps \[4\], not \[2\]; create it with features_only=True'):
        model.forward_intermediates(image, (2, ))


def test_intermediates_come_with_the_last_stage(image):
    model = lively(micronet_mm.create_model('micronet_m3'))
    last, maps = model.forward_intermediates(image)
    assert torch.equal(last, model.forward_features(image)) and torch.equal(last, maps[-1])
    [early] = model.forward_intermediates(image, (2, ), stop_early=True, intermediates_only=True)
    assert torch.equal(early, maps[2])


def test_a_classifier_is_exchanged(image):
    model = lively(micronet_mm.create_model('micronet_m0', num_classes=7))
    assert model(image).shape == (2, 7) and model.get_classifier().out_features == 7
    pre_logits = model.forward_head(model.forward_features(image), pre_logits=True)
    model.reset_classifier(0)
    assert torch.equal(model(image), pre_logits) and isinstance(model.get_classifier(), nn.Identity)
    model.reset_classifier(3)  # of the same type and mode, behind the same first layer
    assert model(image).shape == (2, 3) and model(image).dtype == torch.double and not model.head.classifier.training
    assert torch.equal(model.forward_head(model.forward_features(image), pre_logits=True), pre_logits)
    model.reset_classifier(0, '')
    assert torch.equal(model(image), model.forward_features(image))
    model.reset_classifier(4, 'avg')
    assert model(image).shape == (2, 4)


def test_recomputing_blocks_changes_nothing_but_memory(image):
    model = lively(micronet_mm.create_model('micronet_m0', num_classes=3)).train()

    def gradients():
        model.zero_grad()
        model(image).square().sum().backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    plain = gradients()
    model.set_grad_checkpointing()
    assert model.backbone.with_cp
    torch.testing.assert_close(gradients(), plain)


def test_a_backbone_and_a_whole_detector_bring_weights(tmp_path):
    backbone = MicroNet('m0').state_dict()
    torch.save(backbone, tmp_path / 'backbone.pth')
    torch.save(dict(state_dict={**{f'backbone.{name}': value for name, value in backbone.items()},
                                'bbox_head.conv.weight': torch.zeros(2)}, meta={}), tmp_path / 'detector.pth')
    for path in sorted(tmp_path.iterdir()):
        model = micronet_mm.create_model('micronet_m0', pretrained=str(path), num_classes=4)
        assert all(torch.equal(value, backbone[name]) for name, value in model.backbone.state_dict().items())


@pytest.mark.parametrize('settings', [dict(width=0.5), dict(in_chans=1), dict(spatial=True), dict(J=1, K=1)], ids=str)
def test_networks_of_other_settings_take_their_own_weights(settings, tmp_path):
    model = lively(micronet_mm.create_model('micronet_m0', num_classes=3, **settings)).float()
    torch.save(model.state_dict(), tmp_path / 'own.pth')
    again = micronet_mm.create_model('micronet_m0', pretrained=tmp_path / 'own.pth', num_classes=3, **settings)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())


def test_a_head_for_other_classes_keeps_its_first_layer(converted):
    model = micronet_mm.create_model('micronet_m0', pretrained=converted['m0'], num_classes=4)
    stored = torch.load(converted['m0'])['state_dict']
    assert torch.equal(model.head.classifier.fc1.weight, stored['head.classifier.fc1.weight'])
    assert model.get_classifier().out_features == 4


@pytest.mark.parametrize(('options', 'message'), [
    (dict(pretrained=3), 'pretrained=3 must be True, False or the path of a checkpoint.'),
    (dict(drop_path_rate=0.1), 'drop_path_rate=0.1: MicroNet has no stochastic depth'),
    (dict(global_pool='max'), "global_pool='max': MicroNet's classifier pools by 'avg'"),
    (dict(global_pool=''), "global_pool='': MicroNet's classifier pools by 'avg'; .* with num_classes=0"),
    (dict(act_layer='relu'), 'act_layer is no argument of MicroNet here; besides num_classes, .* there are J, K'),
    (dict(out_indices=(1, )), r'out_indices=\(1,\) names feature maps, so it needs features_only=True'),
    (dict(features_only=True, out_indices=(1, 5)), r'out_indices=\(1, 5\) is not possible: .* 0 to 4, for strides 2'),
    (dict(features_only=True, out_indices=6), 'out_indices=6 is not possible'),
    (dict(features_only=True, out_indices=()), r'out_indices=\(\) is not possible'),
])
def test_what_is_not_there_is_said_in_one_line(options, message):
    with pytest.raises(ValueError, match=message) as error:
        micronet_mm.create_model('micronet_m0', **options)
    assert '\n' not in str(error.value)


def test_unknown_names_and_wrong_files_are_said_in_one_line(converted, tmp_path):
    with pytest.raises(ValueError, match="there is no model 'micronet_m9'; available: micronet_m0, micronet_m1"):
        micronet_mm.create_model('micronet_m9')
    with pytest.raises(FileNotFoundError, match=r'none\.pth does not exist'):
        micronet_mm.create_model('micronet_m0', pretrained='none.pth')
    (tmp_path / 'half.pth').write_bytes(converted['m0'].read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r'half\.pth is broken'):
        micronet_mm.create_model('micronet_m0', pretrained=tmp_path / 'half.pth')
    torch.save(nn.Linear(2, 3).state_dict(), tmp_path / 'other.pth')
    for path, options, message in (
        (converted['m3'], {}, "m3.pth does not fit: these are weights of MicroNet with arch='m3', but .* arch='m0'"),
        (tmp_path / 'other.pth', {}, 'other.pth does not fit: these are not weights of this MicroNet'),
        (converted['m0'], dict(in_chans=1), 'for images of 3 channels, not of in_chans=1'),
        (converted['m0'], dict(spatial=True), r'attention.* of this network is missing there'),
    ):
        with pytest.raises(ValueError, match=message) as error:
            micronet_mm.create_model('micronet_m0', pretrained=path, **options)
        assert '\n' not in str(error.value)


@pytest.mark.parametrize('order', [('micronet_mm', 'mmpretrain.apis'), ('mmpretrain.apis', 'micronet_mm')])
def test_mmpretrain_finds_the_models_by_name(order):
    pytest.importorskip('mmpretrain')
    code = f'''
import sys, {order[0]}
assert ('mmpretrain' in sys.modules) == ({order[0]!r} != 'micronet_mm')
import {order[1]}
from mmpretrain import get_model, list_models
assert list_models('micronet', task='Image Classification') == micronet_mm.list_models()
model = get_model('micronet_m0', head=dict(num_classes=10))
assert type(model).__name__ == 'ImageClassifier' and model.head.num_classes == 10
'''
    run = call('-c', code, apart=True)
    assert run.returncode == 0, run.stderr


def test_the_package_does_not_need_timm():
    code = ("import sys; sys.modules['timm'] = None; import micronet_mm; "
            "print(micronet_mm.create_model('micronet_m0').num_classes); import micronet_mm.timm")
    run = call('-c', code, apart=True)
    assert run.stdout == '1000\n'
    assert "timm, which is not installed: pip install 'micronet-mm[timm]'" in run.stderr.splitlines()[-1]
