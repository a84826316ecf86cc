"""MicroNet behaves as MMLab's backbones do."""
import copy
import io
import pickle

import pytest
import torch
from mm import call
from mmengine.runner import load_checkpoint
from released import normal
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from micronet_mm.layers import DynamicShiftMax
from micronet_mm.models import ARCHS, MicroNet, get_arch, micronet

STAGES = dict(m0=(8, 12, 32, 384), m1=(8, 16, 32, 576), m2=(12, 24, 64, 768), m3=(16, 24, 80, 864),
              m1_sharp=(8, 16, 32, 384), m2_sharp=(12, 24, 48, 384), m3_sharp=(16, 24, 80, 576))


@pytest.mark.parametrize('arch', ARCHS)
@pytest.mark.parametrize('size', [(64, 64), (97, 61)])
def test_stages_have_the_widths_and_strides_of_the_paper(arch, size):
    backbone = MicroNet(arch, out_indices=(0, 1, 2, 3)).eval()
    assert backbone.out_channels == STAGES[arch]
    for feature, width, stride in zip(backbone(torch.rand(1, 3, *size)), STAGES[arch], (4, 8, 16, 32)):
        assert feature.shape == (1, width, -(-size[0] // stride), -(-size[1] // stride))


def test_output_stride_16_keeps_the_weights_and_the_resolution():
    plain, fine = MicroNet('m2'), MicroNet('m2', output_stride=16)
    fine.load_state_dict(plain.state_dict())
    assert fine.eval()(torch.rand(1, 3, 64, 48))[0].shape == (1, 768, 4, 3)
    strides = [conv.stride for conv in fine.stages[3].modules() if isinstance(conv, nn.Conv2d)]
    assert set(strides) == {(1, 1)}
    for a, b in zip(plain.stages[:3].modules(), fine.stages[:3].modules()):
        assert getattr(a, 'stride', None) == getattr(b, 'stride', None)


def test_only_the_stages_asked_for_are_built():
    backbone = MicroNet('m3', out_indices=(0, 2))
    outs = backbone(torch.rand(2, 3, 64, 64))
    assert [f.shape[1] for f in outs] == [16, 80] == list(backbone.out_channels)
    sum(f.sum() for f in outs).backward()
    assert all(p.grad is not None for p in backbone.parameters())  # what DistributedDataParallel insists on


def test_in_channels():
    assert MicroNet('m0', in_channels=1)(torch.rand(2, 1, 32, 32))[0].shape[1] == 384


@pytest.mark.parametrize('frozen_stages', [-1, 0, 2, 4])
def test_frozen_stages(frozen_stages):
    backbone = MicroNet('m0', frozen_stages=frozen_stages).train()
    parts = [backbone.stem, *backbone.stages]
    for index, part in enumerate(parts):
        frozen = index <= frozen_stages
        assert all(p.requires_grad is not frozen for p in part.parameters())
        assert all(m.training is not frozen for m in part.modules())


def test_norm_eval_and_fixed_norm_leave_bn_as_it_is():
    backbone = MicroNet('m0', norm_eval=True, norm_cfg=dict(type='BN', requires_grad=False)).train()
    before = copy.deepcopy(backbone.state_dict())
    backbone(torch.rand(4, 3, 32, 32))[0].sum().backward()
    after = backbone.state_dict()
    for name, module in backbone.named_modules():
        if isinstance(module, _BatchNorm):
            assert torch.equal(before[f'{name}.running_mean'], after[f'{name}.running_mean'])
            assert module.weight.grad is None
    assert backbone.training


@pytest.mark.parametrize('norm', ['SyncBN', 'GN'])
def test_other_norms(norm):
    cfg = dict(type='GN', num_groups=1) if norm == 'GN' else dict(type='SyncBN')
    backbone = MicroNet('m0', norm_cfg=cfg)
    kind = nn.GroupNorm if norm == 'GN' else nn.SyncBatchNorm
    assert any(isinstance(m, kind) for m in backbone.modules())
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())
    assert backbone.eval()(torch.rand(2, 3, 32, 32))[0].shape == (2, 384, 1, 1)


def test_with_cp_recomputes_every_block_to_the_same_gradients(monkeypatch):
    recomputed = []
    checkpoint = micronet.checkpoint
    monkeypatch.setattr(micronet, 'checkpoint', lambda block, *args, **kwargs: (recomputed.append(block),
                                                                               checkpoint(block, *args, **kwargs))[1])
    torch.manual_seed(0)
    plain = MicroNet('m0').train()
    saving = MicroNet('m0', with_cp=True).train()
    saving.load_state_dict(plain.state_dict())
    x = torch.rand(4, 3, 64, 64)
    for backbone in (plain, saving):
        backbone(x)[0].square().mean().backward()
    assert recomputed == [block for stage in saving.stages for block in stage]
    for a, b in zip(plain.parameters(), saving.parameters()):
        torch.testing.assert_close(a.grad, b.grad)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float16, 0.01), (torch.bfloat16, 0.05)])
def test_half_precision(dtype, tolerance, converted):
    """Each block on its own: 12 blocks of random weights would amplify every rounding."""
    backbone = MicroNet('m3').eval()
    load_checkpoint(backbone, str(converted['m3']), revise_keys=[('^backbone.', '')])
    x = normal(0, 1, 3, 64, 64)
    with torch.no_grad():
        for block in (backbone.stem, *(block for stage in backbone.stages for block in stage)):
            y, half = block(x), copy.deepcopy(block).to(dtype)(x.to(dtype))
            assert half.dtype == dtype
            assert (half.float() - y).norm() < tolerance * y.norm()
            x = y
        assert backbone.to(dtype)(torch.rand(1, 3, 64, 64, dtype=dtype))[0].dtype == dtype


def test_autocast_keeps_activations_narrow():
    backbone = MicroNet('m0')
    with torch.autocast('cpu', torch.bfloat16):
        feature = backbone(torch.rand(2, 3, 64, 64))[0]
    assert feature.dtype == torch.bfloat16
    feature.sum().backward()
    assert all(p.grad.dtype == torch.float32 for p in backbone.parameters())


def test_compile_has_no_graph_break():
    torch.manual_seed(0)
    backbone = MicroNet('m0')
    x = torch.rand(2, 3, 64, 64)
    compiled = torch.compile(copy.deepcopy(backbone), fullgraph=True, backend='aot_eager')
    for model in (backbone, compiled):
        model(x)[0].square().mean().backward()
    for a, b in zip(backbone.parameters(), compiled.parameters()):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-3, atol=1e-6)


def test_deepcopy_and_pickle():
    backbone = MicroNet('m0').eval()
    x = torch.rand(1, 3, 32, 32)
    stream = io.BytesIO()
    torch.save(backbone, stream)
    stream.seek(0)
    for other in (copy.deepcopy(backbone), pickle.loads(pickle.dumps(backbone)),
                  torch.load(stream, weights_only=False)):
        assert torch.equal(other(x)[0], backbone(x)[0])


def test_construction_prints_nothing(tmp_path):
    """In a process of its own: a logger that is there already writes to the stream that it was made with."""
    done = call('-W', 'ignore', '-c', "from micronet_mm.models import MicroNet; MicroNet('m3')", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, '')


def test_initialization_follows_the_released_rule():
    torch.manual_seed(0)
    backbone = MicroNet('m3')
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 2000:
            std = (2 / (module.kernel_size[0] * module.kernel_size[1] * module.out_channels))**0.5
            assert module.weight.std().item() == pytest.approx(std, rel=0.1)
        elif isinstance(module, nn.Linear):
            assert module.weight.std().item() == pytest.approx(0.01, rel=0.2)
            assert not module.bias.any()


def test_init_cfg_has_the_last_word_everywhere():
    backbone = MicroNet('m0', init_cfg=dict(type='Constant', layer='Conv2d', val=0.5))
    backbone.init_weights()
    for module in backbone.modules():
        if isinstance(module, nn.Conv2d):
            assert (module.weight == 0.5).all()


def test_pretrained_weights_load_by_prefix(converted):
    backbone = MicroNet('m0', init_cfg=dict(type='Pretrained', checkpoint=str(converted['m0']), prefix='backbone.'))
    backbone.init_weights()
    stored = torch.load(converted['m0'])['state_dict']
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, stored[f'backbone.{name}'])


def test_custom_table_as_a_config_holds_it():
    arch = dict(
        stem=[4, 2],
        rows=[
            dict(kind='A', stride=2, channels=12, kernel=3, expansion=[2, 2], dynamic=[False, True, True]),
            dict(kind='B', stride=2, channels=24, kernel=5, expansion=[1, 6]),
            dict(kind='E', stride=1, channels=96),
        ])
    backbone = MicroNet(arch, out_indices=(0, 1))
    assert [f.shape for f in backbone(torch.rand(2, 3, 32, 32))] == [(2, 12, 8, 8), (2, 96, 4, 4)]


@pytest.mark.parametrize('settings', [dict(J=1), dict(J=3), dict(K=1), dict(K=3), dict(shift='paper')], ids=str)
def test_operator_settings_reach_every_layer(settings):
    backbone = MicroNet('m2', **settings)
    layers = [(name, m) for name, m in backbone.named_modules() if isinstance(m, DynamicShiftMax)]
    assert layers
    for name, layer in layers:
        assert settings.get('J', 2) == layer.J and layer.shift == settings.get('shift', 'grouped')
        assert (1 if 'act3' in name else settings.get('K', 2)) == layer.K  # A3 has one fusion, whatever K
    assert backbone(torch.rand(2, 3, 32, 32))[0].shape == (2, 768, 1, 1)


@pytest.mark.parametrize('dynamic', [(False, False, False), (False, True, False), (True, True, True)])
def test_dynamic_says_which_activations_are_shift_max(dynamic):
    backbone = MicroNet('m2', dynamic=dynamic)
    found = {name.rpartition('act')[2] for name, m in backbone.named_modules() if isinstance(m, DynamicShiftMax)}
    assert found == {str(i) for i, wanted in enumerate(dynamic, start=1) if wanted}


@pytest.mark.parametrize(('arguments', 'message'), [
    (dict(arch='m9'), "arch='m9' is unknown; use one of .*'m0'"),
    (dict(arch=3), 'arch must be a name, an Arch or a dict'),
    (dict(arch=dict(stem=(4, 2), blocks=[])), "no field 'blocks'"),
    (dict(arch=dict(stem=(4, 2), rows=[dict(kind='A', stride=2)])), 'row 0 of the arch is incomplete'),
    (dict(arch=dict(stem=(4, 2), rows=[dict(kind='Z', stride=2, channels=8)])), "kind='Z' of row 0 of the arch"),
    (dict(arch=dict(stem=(4, 2), rows=[dict(kind='E', stride=1, channels=8)])), 'first block must have stride 2'),
    (dict(out_indices=(4, )), r'out_indices=\(4,\) must name'),
    (dict(out_indices=()), 'out_indices'),
    (dict(output_stride=8), 'output_stride=8 of MicroNet must be 16 or 32'),
    (dict(frozen_stages=5), 'frozen_stages=5 must be -1'),
    (dict(J=0), 'J=0'),
    (dict(shift='circular'), "shift='circular'"),
    (dict(dynamic=True), 'dynamic=True of MicroNet must be a list of 3'),
    (dict(dynamic=()), r'dynamic=\(\) of MicroNet must be a list of 3'),
])
def test_bad_arguments_get_one_clear_line(arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        MicroNet(**arguments)
    assert '\n' not in str(caught.value)


def test_tables_round_trip_through_dicts():
    from dataclasses import asdict
    for table in ARCHS.values():
        assert get_arch(asdict(table)) == table
