"""What a config can switch on does what it says."""
import pytest
import torch
from mm import DEMO, call
from toy import ENV, TRAIN, losses, train, write_toy

from micronet_mm.datasets import write_figures

RECORD = "custom_hooks = _base_.custom_hooks + [dict(type='RecordHook'){more}]\n"


def curve(folder, name, text='', more='', images=24):
    """Losses of a toy run."""
    write_toy(folder, RECORD.format(more=more) + text, images=images)
    run = train(folder, work_dir=name)
    assert run.returncode == 0, run.stdout[-2000:]
    return losses(folder, name)


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """A folder with a plain run in ``plain``, and its losses."""
    folder = tmp_path_factory.mktemp('switches')
    return folder, curve(folder, 'plain')


def test_with_cp_computes_the_same(plain):
    folder, _ = plain
    expected = curve(folder, 'double', 'model = dict(double=True)')
    # BN sees a batch twice, so the running statistics move faster; the losses of training do not depend on them.
    assert curve(folder, 'cp', 'model = dict(double=True, with_cp=True)') == pytest.approx(expected, rel=1e-9)


def test_gradient_accumulation_steps_less_often(plain):
    folder, _ = plain
    adam = "optimizer=dict(_delete_=True, type='Adam')"
    curve(folder, 'accumulated', f'optim_wrapper = dict(accumulative_counts=2, {adam})')
    state = torch.load(folder / 'accumulated' / 'epoch_3.pth')
    assert state['meta']['iter'] == 18
    assert {int(s['step']) for s in state['optimizer']['state'].values()} == {9}


def test_ema_is_what_is_saved(plain):
    folder, expected = plain
    found = curve(folder, 'ema', more=", dict(type='EMAHook', momentum=0.1)")
    assert found.tolist() == expected.tolist()  # training goes on with its own weights
    averaged, last = (torch.load(folder / name / 'epoch_3.pth')['state_dict'] for name in ('ema', 'plain'))
    key = 'head.fc1.weight'
    assert not torch.equal(averaged[key], last[key])
    assert torch.equal(torch.load(folder / 'ema' / 'epoch_3.pth')['ema_state_dict'][f'module.{key}'], last[key])


def test_bf16_by_option(plain):
    folder, expected = plain
    write_toy(folder, RECORD.format(more=''))
    run = train(folder, '--amp', work_dir='bf16')
    written = next((folder / 'bf16').glob('*/*.log')).read_text()  # the config is only in the log file
    assert run.returncode == 0 and 'Bf16OptimWrapper' in written, run.stdout[-2000:]
    first = losses(folder, 'bf16')[0]
    assert first == pytest.approx(expected[0], rel=0.05) and first != expected[0]
    assert all(v.dtype != torch.bfloat16 for v in torch.load(folder / 'bf16' / 'epoch_3.pth')['state_dict'].values())


def test_compile_names_a_module_that_is_not_there(tmp_path):
    write_toy(tmp_path, "custom_hooks = [dict(type='CompileHook', modules=['spine'])]")
    run = train(tmp_path)
    assert "CompileHook cannot find 'spine' in the model, which has data_preprocessor, backbone, head" in run.stdout


@pytest.fixture(scope='module')
def figures(tmp_path_factory):
    root = tmp_path_factory.mktemp('data') / 'figures'
    write_figures(root, num_train=160, num_val=4)
    return root


def demo_curve(figures, folder, name, *arguments, text=''):
    """Losses of 20 iterations of the demo at its full size, with a hundredth of its learning rate.

    At the full one, noise of 1e-7 in the weights grows to 6 % of the loss within 60 iterations, so nothing that rounds
    differently can follow the curve.
    """
    (folder / f'{name}.py').write_text(f'''
_base_ = {str(DEMO)!r}
custom_imports = dict(imports=['micronet_mm', 'toy'])
custom_hooks = [dict(type='EpochSeedHook'), dict(type='RecordHook')]
train_dataloader = dict(dataset=dict(data_root={str(figures) + '/'!r}))
train_cfg = dict(max_epochs=1)
optim_wrapper = dict(optimizer=dict(lr=3e-5))
param_scheduler = []
val_dataloader = val_cfg = val_evaluator = None
{text}''')
    run = call(TRAIN, f'{name}.py', '--work-dir', name, *arguments, cwd=folder, env=ENV,
               timeout=1800)
    assert run.returncode == 0, run.stdout[-2000:]
    return losses(folder, name)


@pytest.mark.slow
def test_bf16_and_compile_follow_the_demo_s_curve(figures, tmp_path):
    expected = demo_curve(figures, tmp_path, 'fp32')
    assert expected.shape == (20, )
    compiled = "custom_hooks += [dict(type='CompileHook', modules=['backbone', 'neck'])]"
    assert demo_curve(figures, tmp_path, 'compiled', text=compiled) == pytest.approx(expected, rel=1e-3)
    bf16 = demo_curve(figures, tmp_path, 'bf16', '--amp', 'bf16')
    assert bf16 == pytest.approx(expected, rel=0.05)
