"""MicroNet keeps what timm asks of the models that it knows."""
import argparse
from importlib import import_module

import pytest
import torch
from released import expected, normal
from test_hub import lively
from torch import nn

import micronet_mm
from micronet_mm import create_model, list_models
from micronet_mm.checkpoint import read_weights

timm = pytest.importorskip('timm')
for part in ('timm.data', 'timm.optim', 'timm.utils', 'micronet_mm.timm'):
    import_module(part)

NAMES = list_models()


@pytest.fixture
def image():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def test_every_name_is_registered():
    assert timm.list_models('micronet_m*') == NAMES == micronet_mm.timm.__all__
    assert timm.list_pretrained('micronet_m*') == micronet_mm.list_pretrained()


@pytest.mark.parametrize('name', NAMES)
def test_every_parameter_gets_a_gradient(name, image):
    model = timm.create_model(name, num_classes=5).train()
    logits = model(image)
    assert logits.shape == (2, 5) and logits.isfinite().all()
    logits.square().mean().backward()
    assert not [key for key, parameter in model.named_parameters() if parameter.grad is None]


@pytest.mark.parametrize('name', NAMES)
def test_layers_that_the_default_cfg_names_are_there(name, image):
    model = timm.create_model(name).eval()
    cfg = model.default_cfg
    assert isinstance(model.get_submodule(cfg['first_conv']), nn.Conv2d)
    assert model.get_submodule(cfg['classifier']) is model.get_classifier()
    assert model.get_classifier().out_features == cfg['num_classes'] == model.num_classes == 1000
    features = model.forward_features(image)
    assert features.shape[1] == model.num_features
    assert model.forward_features(torch.zeros(1, *cfg['input_size'])).shape[2:] == cfg['pool_size']
    assert model.forward_head(features, pre_logits=True).shape == (2, model.head_hidden_size)


@pytest.mark.parametrize('name', NAMES)
def test_without_classes_and_without_pooling(name, image):
    asked = timm.create_model(name, num_classes=0).eval()
    assert asked(image).shape == (2, asked.head_hidden_size)
    unpooled = timm.create_model(name, num_classes=0, global_pool='').eval()
    assert unpooled(image).shape == (2, unpooled.num_features, 2, 2)


@pytest.mark.parametrize('feature_cls', ['getter', 'fx', 'hook'])
@pytest.mark.parametrize('name', ['micronet_m0', 'micronet_m3'])
def test_feature_maps_are_as_described_in_each_of_timm_s_ways(name, feature_cls, image):
    torch.manual_seed(0)
    reference = create_model(name, features_only=True, out_indices=(1, 3, 4)).eval()
    torch.manual_seed(0)  # the same weights
    model = timm.create_model(name, features_only=True, out_indices=(1, 3, 4), feature_cls=feature_cls).eval()
    maps = model(image)
    assert model.feature_info.channels() == reference.feature_info.channels() == [found.shape[1] for found in maps]
    assert model.feature_info.reduction() == reference.feature_info.reduction() == [4, 16, 32]
    assert [64 // found.shape[2] for found in maps] == [4, 16, 32]
    for found, expected_map in zip(maps, reference(image), strict=True):
        torch.testing.assert_close(found, expected_map)


def test_by_default_there_are_maps_of_strides_2_to_32(image):
    model = timm.create_model('micronet_m1', features_only=True)
    assert model.feature_info.reduction() == [2, 4, 8, 16, 32]
    assert [64 // found.shape[2] for found in model(image)] == [2, 4, 8, 16, 32]


@pytest.mark.parametrize('name', NAMES)
def test_torchscript_and_symbolic_traces_compute_the_same(name, image):
    model = lively(timm.create_model(name, num_classes=5))
    image = image.double()
    for form in (torch.jit.script(model), torch.fx.symbolic_trace(model)):
        torch.testing.assert_close(form(image), model(image))


@pytest.mark.parametrize('way', ['pretrained', 'file', 'checkpoint_path'])
def test_weights_arrive_in_each_of_timm_s_ways(way, converted):
    options = dict(pretrained=dict(pretrained=str(converted['m0'])),
                   file=dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(converted['m0']))),
                   checkpoint_path=dict(checkpoint_path=str(converted['m0'])))[way]
    model = timm.create_model('micronet_m0', **options).eval()
    with torch.no_grad():
        logits = model(normal(1, 2, 3, 224, 224))
    assert (logits - torch.as_tensor(expected('m0')['logits_224_seed1'])).abs().max() < 1e-3


@pytest.mark.parametrize('features_only', [False, True])
def test_weights_for_other_classes_arrive_too(features_only, converted):
    stored = torch.load(converted['m0'])['state_dict']
    for options in (dict(pretrained=converted['m0']),
                    dict(pretrained=True, pretrained_cfg_overlay=dict(file=str(converted['m0'])))):
        model = timm.create_model('micronet_m0', features_only=features_only, num_classes=3, **options)
        network = model.model if features_only else model
        assert all(torch.equal(value, stored[f'backbone.{key}']) for key, value in
                   network.backbone.state_dict().items())


def test_pretrained_true_without_bundled_weights_is_refused_in_one_line():
    with pytest.raises(ValueError, match=r'micronet_m1_sharp has no bundled weights; available: .* path of a') as error:
        timm.create_model('micronet_m1_sharp', pretrained=True)
    assert '\n' not in str(error.value)


def test_data_config_is_that_of_the_imagenet_config():
    from mmengine.config import Config
    from mmengine.utils import is_installed
    model = timm.create_model('micronet_m3')
    found = timm.data.resolve_model_data_config(model)
    assert found == timm.data.resolve_model_data_config(create_model('micronet_m3'))
    if is_installed('mmpretrain'):
        from mm import ROOT
        cfg = Config.fromfile(ROOT / 'configs' / 'imagenet_micronet_m3.py')
        resize, crop = cfg.test_pipeline[1:3]
        assert found['input_size'][1:] == (crop.crop_size, ) * 2
        assert found['crop_pct'] == crop.crop_size / resize.scale
        assert found['interpolation'] == resize.get('interpolation', 'bilinear')
        for key in ('mean', 'std'):
            assert found[key] == pytest.approx([value / 255 for value in cfg.data_preprocessor[key]], abs=1e-3)
    transform = timm.data.create_transform(**found)
    assert transform.transforms[0].size == 256


@pytest.mark.parametrize('layer_decay', [None, 0.9])
def test_an_optimizer_of_timm_learns(layer_decay):
    torch.manual_seed(0)
    model = timm.create_model('micronet_m0', num_classes=2).train()
    optimizer = timm.optim.create_optimizer_v2(model, opt='adamw', lr=1e-2, weight_decay=1e-2, layer_decay=layer_decay)
    held = [id(parameter) for group in optimizer.param_groups for parameter in group['params']]
    assert sorted(held) == sorted(id(parameter) for parameter in model.parameters())
    image, labels, losses = torch.randn(8, 3, 64, 64), torch.arange(8) % 2, []
    for _ in range(12):
        loss = nn.functional.cross_entropy(model(image), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_the_layers_of_a_layer_decay_are_the_blocks_in_order():
    from timm.models import group_parameters
    model = timm.create_model('micronet_m3')
    groups = group_parameters(model, model.group_matcher(coarse=False))
    assert {name.partition('.')[2].partition('.')[0] for name in groups[0]} == {'stem'}
    assert len(groups) == 1 + sum(len(stage) for stage in model.backbone.stages) + 1
    assert len(group_parameters(model, model.group_matcher(coarse=True))) == 1 + 4 + 1


def test_a_checkpoint_of_timm_s_training_loads_everywhere(tmp_path):
    model = lively(timm.create_model('micronet_m0', num_classes=3)).float()
    optimizer = timm.optim.create_optimizer_v2(model, opt='sgd', lr=0.1)
    average = timm.utils.ModelEmaV3(model)
    with torch.no_grad():
        model.head.classifier.fc2.bias.add_(1)
    saver = timm.utils.CheckpointSaver(model, optimizer, args=argparse.Namespace(model='micronet_m0'),
                                       model_ema=average, checkpoint_dir=str(tmp_path), recovery_dir=str(tmp_path))
    saver.save_checkpoint(0, metric=1.0)
    [path] = tmp_path.glob('checkpoint-*.pth.tar')
    for key, value in read_weights(path).items():
        assert torch.equal(value, average.module.state_dict()[key])
    again = timm.create_model('micronet_m0', num_classes=3, checkpoint_path=str(path)).state_dict()
    ours = create_model('micronet_m0', num_classes=3, pretrained=path).state_dict()
    for key, value in average.module.state_dict().items():
        assert torch.equal(again[key], value) and torch.equal(ours[key], value)
