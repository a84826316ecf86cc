"""Several processes on CPUs through ``tools/train.py --launcher pytorch``."""
import pytest
import torch
import torch.multiprocessing as mp
from mm import call
from torch import distributed as dist
from torch import nn
from toy import ENV, TRAIN, assert_same_training_state, last_line, losses, write_toy

SETTINGS = '''
model = dict(dropout=0, double=True)
# No random flips: each process would draw its own.
pipeline = [dict(type='LoadImageOrSkip'), dict(type='ToyPack')]
sync_bn = 'torch'
train_dataloader = dict(batch_size={batch}, dataset=dict(pipeline=pipeline))
train_cfg = dict(max_epochs=4)
# Nine images are not as many for one process as for the other.
val_dataloader = dict(batch_size=1, num_workers=0, dataset=dict(_base_.dataset, pipeline=pipeline, indices=9),
                      sampler=dict(type='DefaultSampler', shuffle=False, round_up=False))
val_evaluator, val_cfg = dict(type='ToyMetric'), dict(type='ValLoop')
custom_hooks = _base_.custom_hooks + [dict(type='RecordHook'){more}]
'''


def run(folder, processes, *arguments, work_dir, more=''):
    write_toy(folder, SETTINGS.format(batch=8 // processes, more=more), images=40)
    launch = ['-m', 'torch.distributed.run', '--standalone', f'--nproc_per_node={processes}'] if processes > 1 else []
    launcher = ['--launcher', 'pytorch'] if processes > 1 else []
    return call(*launch, TRAIN, 'toy_config.py', '--work-dir', work_dir, *launcher, *arguments, cwd=folder, env=ENV)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('distributed')
    result = run(folder, 2, work_dir='two')
    assert result.returncode == 0, result.stdout[-3000:]
    assert result.stdout.count('count: 9') == 4
    return folder


def test_two_processes_with_sync_bn_are_one_with_twice_the_batch(folder):
    assert run(folder, 1, work_dir='one').returncode == 0
    one, two = losses(folder, 'one'), losses(folder, 'two')
    assert one.shape == two.shape == (20, )
    assert two == pytest.approx(one, rel=1e-9)
    assert len(list((folder / 'two').glob('losses_*.txt'))) == 2


def test_a_signal_to_one_process_stops_all_and_they_resume(folder):
    result = run(folder, 2, work_dir='resumed', more=", dict(type='SignalHook', number='SIGTERM', at=7, rank=0)")
    assert result.returncode != 0
    assert 'resumed/interrupted.pth after iteration 7; nothing is lost' in result.stdout, result.stdout[-3000:]
    result = run(folder, 2, '--resume', work_dir='resumed')
    assert result.returncode == 0, result.stdout[-3000:]
    assert_same_training_state(folder / 'two' / 'epoch_4.pth', folder / 'resumed' / 'epoch_4.pth')
    assert losses(folder, 'resumed').tolist() == losses(folder, 'two').tolist()


def test_cpu_processes_need_torchrun(tmp_path):
    write_toy(tmp_path)
    result = call(TRAIN, 'toy_config.py', '--launcher', 'slurm', cwd=tmp_path, env=ENV)
    assert result.returncode == 1
    assert last_line(result).startswith('error: --launcher slurm needs accelerators')


def batch_norm_part(rank, folder):
    """One of two processes: its half of the batch through SyncBN."""
    from micronet_mm.engine.gloo import CpuSyncBatchNorm
    dist.init_process_group('gloo', init_method=f'file://{folder}/join', rank=rank, world_size=2)
    x, weight = torch.load(f'{folder}/x.pt')
    part = x[3 * rank:3 * rank + 3].clone().requires_grad_()  # 3 and 2 of 5 images
    layer = CpuSyncBatchNorm(4).double()
    y = layer(part)
    (y * weight[3 * rank:3 * rank + 3]).sum().backward()
    torch.save((y.detach(), part.grad, layer.running_mean, layer.running_var, layer.weight.grad), f'{folder}/{rank}.pt')
    dist.destroy_process_group()


def test_sync_batch_norm_is_batch_norm_of_the_whole_batch(tmp_path):
    torch.manual_seed(0)
    x, weight = torch.randn(5, 4, 3, 2, dtype=torch.double) * 3 + 100, torch.randn(5, 4, 3, 2, dtype=torch.double)
    torch.save((x, weight), tmp_path / 'x.pt')
    mp.spawn(batch_norm_part, (str(tmp_path), ), nprocs=2)
    parts = [torch.load(tmp_path / f'{rank}.pt') for rank in (0, 1)]
    layer = nn.BatchNorm2d(4).double()
    y = layer(x.requires_grad_())
    (y * weight).sum().backward()
    for index, whole in enumerate((y, x.grad)):
        torch.testing.assert_close(torch.cat([part[index] for part in parts]), whole.detach())
    for part in parts:
        torch.testing.assert_close(part[2], layer.running_mean)
        torch.testing.assert_close(part[3], layer.running_var)
    torch.testing.assert_close(parts[0][4] + parts[1][4], layer.weight.grad)
