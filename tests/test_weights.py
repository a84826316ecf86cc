"""Weights arrive where they were given for, or somebody says why not."""
import itertools
import re

import pytest
import torch
from mm import DEMO, ROOT, call, write_config
from mmengine.config import Config
from mmengine.registry import MODELS
from mmengine.runner import load_checkpoint
from torch import nn

from micronet_mm.checkpoint import CheckpointError, check_fits, check_initial_weights
from micronet_mm.datasets import write_figures
from micronet_mm.models import ARCHS, MicroNet, MicroNetClassifier

WRONG_ARCH = "weights of MicroNet with arch='m0', but this network has arch='m3'"
NO_PREFIX = r"by names that begin with 'backbone\.': add prefix='backbone\.' to init_cfg"
NOT_CONVERTED = 'is a MicroNet as the authors released it, .* convert it with micronet-mm convert'


def pretrained(path, prefix='backbone.'):
    return dict(type='Pretrained', checkpoint=str(path), prefix=prefix)


@pytest.mark.parametrize(('arch', 'file', 'prefix', 'message'), [
    ('m3', 'converted', 'backbone.', WRONG_ARCH),
    ('m0', 'converted', None, NO_PREFIX),
    ('m0', 'released', None, NOT_CONVERTED),
    ('m0', 'released', 'backbone.', NOT_CONVERTED),
    ('m3', 'other', None, r"not weights of this MicroNet \(arch='m3'\): .* such as fc\.weight"),
])
def test_init_cfg_that_does_not_fit_is_refused_in_every_way(arch, file, prefix, message, released, converted, tmp_path):
    torch.save({f'fc.{name}': value for name, value in nn.Linear(2, 3).state_dict().items()}, tmp_path / 'other.pth')
    path = dict(released=released['m0'], converted=converted['m0'], other=tmp_path / 'other.pth')[file]
    backbone = MicroNet(arch, init_cfg=pretrained(path, prefix))
    for way in (backbone.init_weights, lambda: check_initial_weights(backbone)):
        with pytest.raises((ValueError, CheckpointError), match=message) as error:
            way()
        assert '\n' not in str(error.value)


def test_init_cfg_of_another_module_is_checked_too(converted):
    """As the baseline's, whose file another backbone's may be."""
    block = MODELS.build(dict(type='MicroNetClassifier', in_channels=384, hidden_channels=640,
                              init_cfg=pretrained(converted['m0'], 'head.')))
    with pytest.raises(ValueError, match=r"holds no tensor of it below prefix='head\.'"):
        check_initial_weights(block)
    block.init_cfg['prefix'] = 'head.classifier.'
    check_initial_weights(block)


@pytest.mark.parametrize(('ours', 'theirs'), itertools.permutations(['m0', 'm1', 'm2', 'm3', 'm3_sharp'], 2))
def test_no_arch_takes_weights_of_another(ours, theirs):
    with pytest.raises(ValueError, match=f"arch='{theirs}', but this network has arch='{ours}'"):
        MicroNet(ours).load_state_dict(MicroNet(theirs).state_dict(), strict=False)


@pytest.mark.parametrize('changes', [dict(in_channels=1), dict(spatial=True), dict(out_indices=(0, )), dict()])
def test_networks_that_are_much_alike_take_them(changes, tmp_path):
    stored = MicroNet('m2').state_dict()
    torch.save(stored, tmp_path / 'm2.pth')
    backbone = MicroNet('m2', **changes)
    load_checkpoint(backbone, str(tmp_path / 'm2.pth'))
    name = 'stages.0.0.compress.conv.weight'
    assert torch.equal(backbone.state_dict()[name], stored[name])


@pytest.mark.parametrize('wrapper', ['module.', '_orig_mod.', 'module._orig_mod.', '_orig_mod.module.'])
def test_wrappers_in_front_of_all_names_are_taken_off(wrapper, tmp_path):
    model = nn.ModuleDict(dict(backbone=MicroNet('m0'), head=MicroNetClassifier(384, 64, 3)))
    stored = {wrapper + name: value for name, value in model.state_dict().items()}
    torch.save(dict(state_dict=stored, meta={}), tmp_path / 'wrapped.pth')
    check_fits(model, tmp_path / 'wrapped.pth')
    backbone = MicroNet('m0', init_cfg=pretrained(tmp_path / 'wrapped.pth'))
    check_initial_weights(backbone)
    backbone.init_weights()
    assert all(torch.equal(value, model.backbone.state_dict()[name]) for name, value in backbone.state_dict().items())


def test_load_from_another_model_is_refused_and_parts_are_not(converted, tmp_path):
    model = nn.ModuleDict(dict(backbone=MicroNet('m3'), bbox_head=nn.Conv2d(2, 3, 1)))
    check_initial_weights(model, str(converted['m3']))  # a classifier: its backbone is what a detector starts from
    with pytest.raises(ValueError, match=f'm0.pth does not fit: these are {WRONG_ARCH}'):
        check_initial_weights(model, str(converted['m0']))
    torch.save(dict(state_dict={'features.0.weight': torch.zeros(1)}), tmp_path / 'other.pth')
    with pytest.raises(ValueError, match='holds no tensor of this model, but such as features'):
        check_initial_weights(model, str(tmp_path / 'other.pth'))


def test_every_arch_is_told_from_the_others():
    from micronet_mm.models.micronet import find_weights
    for arch in ARCHS:
        stored = {f'backbone.{name}': value for name, value in MicroNet(arch).state_dict().items()}
        assert find_weights(stored) == (arch, 'backbone.')


def test_training_from_the_tools_ends_before_it_begins(converted, tmp_path):
    write_figures(tmp_path / 'figures', num_train=4, num_val=2)
    init = f"model = dict(backbone=dict(init_cfg={dict(pretrained(converted['m0']), _delete_=True)!r}))"
    write_config(tmp_path / 'init.py', tmp_path / 'figures', init)
    write_config(tmp_path / 'plain.py', tmp_path / 'figures')
    whole = MODELS.build(Config.fromfile(DEMO).model)
    torch.save(dict(state_dict=dict(whole.state_dict(), **{'backbone.stem.vertical.bn.weight': torch.ones(1)}),
                    meta=dict(iter=1, epoch=1), optimizer={}, message_hub={}), tmp_path / 'other.pth')
    for command, message in ((['init.py'], WRONG_ARCH),
                             (['plain.py', '--cfg-options', f'load_from={converted["m0"]}'], WRONG_ARCH),
                             (['plain.py', '--resume', 'other.pth'], r'does not fit the model of the config')):
        run = call(ROOT / 'tools' / 'train.py', *command, cwd=tmp_path)
        assert run.returncode == 1
        assert re.search(f'^error: .*{message}', run.stdout.splitlines()[-1]), run.stdout[-1500:]


def test_mmpretrain_s_inferencer_refuses_what_was_not_converted(released):
    pytest.importorskip('mmpretrain')
    from mmpretrain.apis import ImageClassificationInferencer
    with pytest.raises(CheckpointError, match=NOT_CONVERTED):
        ImageClassificationInferencer(str(ROOT / 'configs' / 'imagenet_micronet_m0.py'), str(released['m0']))
