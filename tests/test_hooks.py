"""What single hooks and transforms promise."""
import random
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from toy import last_line, train, write_toy

from micronet_mm.checkpoint.atomic import AtomicLocalBackend
from micronet_mm.datasets import UnreadableImageError
from micronet_mm.datasets.loading import LoadImageOrSkip
from micronet_mm.engine.hooks import BrokenImageHook, EpochSeedHook, FreezeNormHook, InvalidLossHook, PreemptionHook


def drawn(seed, epoch):
    """What the three generators give at the start of an epoch."""
    random.random(), np.random.rand(), torch.rand(1)  # whatever ran before
    EpochSeedHook().before_train_epoch(SimpleNamespace(seed=seed, epoch=epoch))
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_every_epoch_of_a_seed_has_random_numbers_of_its_own():
    assert drawn(3, 5) == drawn(3, 5)
    starts = [drawn(seed, epoch) for seed in (3, 4) for epoch in range(10)]
    assert all(len(set(values)) == 20 for values in zip(*starts))


def test_a_resumed_sampler_shuffles_by_the_seed_of_the_run():
    sampler = SimpleNamespace(seed=1)
    loader = SimpleNamespace(batch_sampler=SimpleNamespace(sampler=sampler))
    EpochSeedHook().before_train(SimpleNamespace(seed=7, train_dataloader=loader))
    assert sampler.seed == 7


def test_nan_is_seen_before_a_checkpoint_is_written(tmp_path):
    """Between two looks, where no epoch ends."""
    write_toy(tmp_path, '''
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=9)
train_dataloader = dict(sampler=dict(_delete_=True, type='InfiniteSampler', shuffle=True))
param_scheduler = []
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=3))
custom_hooks = [dict(type='InvalidLossHook', interval=1000), dict(type='PoisonHook', at=5)]
''')
    run = train(tmp_path)
    assert run.returncode == 1
    assert last_line(run).startswith('error: loss is nan at iteration 5'), run.stdout[-2000:]
    assert sorted(path.name for path in (tmp_path / 'w').glob('*.pth')) == ['iter_3.pth']


@pytest.mark.parametrize('kept', [0.5, 0.9, -2])
def test_a_jpeg_that_was_cut_off_is_broken_though_opencv_decodes_it(kept, tmp_path):
    path = tmp_path / 'cut.jpg'
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), (5, 5), 0)
    cv2.imwrite(str(path), picture)
    assert LoadImageOrSkip()(dict(img_path=str(path)))['img'].shape == (64, 64, 3)
    content = path.read_bytes()
    path.write_bytes(content[:kept if kept < 0 else int(kept * len(content))])
    assert cv2.imread(str(path)).shape == (64, 64, 3)
    assert LoadImageOrSkip()(dict(img_path=str(path))) is None
    with pytest.raises(UnreadableImageError, match=r'cut\.jpg cannot be decoded; replace it'):
        LoadImageOrSkip(skip=False)(dict(img_path=str(path)))


@pytest.mark.parametrize('name', ['cut.jpg', 'cut.png'])
def test_no_opencv_needs_to_notice_that_a_picture_was_cut_off(name, tmp_path, monkeypatch):
    """Versions differ in what they decode of one."""
    path = tmp_path / name
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    monkeypatch.setattr('mmcv.transforms.LoadImageFromFile.transform', lambda self, results: results)
    assert LoadImageOrSkip()(dict(img_path=str(path)))
    path.write_bytes(path.read_bytes()[:-200])
    assert LoadImageOrSkip()(dict(img_path=str(path))) is None


def test_a_checkpoint_that_was_written_anew_is_not_removed_in_the_place_of_the_old_one(tmp_path):
    old, new = tmp_path / 'old.pth', tmp_path / 'new.pth'
    backend = AtomicLocalBackend()
    for path in (old, new):
        backend.put(b'old', path)
    with backend.removing_last():
        backend.remove(old)
        backend.remove(new)
        backend.put(b'new', new)
        assert old.exists()
    assert not old.exists() and new.read_bytes() == b'new'


def test_what_follows_the_end_of_a_picture_does_no_harm(tmp_path):
    path = tmp_path / 'long.jpg'
    cv2.imwrite(str(path), np.full((20, 30, 3), 90, np.uint8))
    path.write_bytes(path.read_bytes() + bytes(100))
    assert LoadImageOrSkip()(dict(img_path=str(path)))['img'].shape == (20, 30, 3)


def test_hooks_refuse_nonsense():
    with pytest.raises(ValueError, match='SIGNOTHING'):
        PreemptionHook(signals=['SIGNOTHING'])
    with pytest.raises(ValueError, match='max_share=2'):
        BrokenImageHook(max_share=2)
    with pytest.raises(ValueError, match='interval=0'):
        InvalidLossHook(interval=0)


def test_statistics_of_bn_stand_still_in_the_last_part(tmp_path):
    """Also behind an evaluation, which puts the whole model back into training; weights go on being learned."""
    norm = torch.nn.BatchNorm2d(2)
    model = torch.nn.Sequential(norm, torch.nn.ReLU())
    runner = SimpleNamespace(model=model, iter=0, max_iters=5)
    hook = FreezeNormHook(begin=0.6)
    hook.before_train(runner)
    means, weights = [], []
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    for runner.iter in range(5):
        model.train()
        hook.before_train_iter(runner, runner.iter)
        model(torch.randn(4, 2, 3, 3) + runner.iter).square().mean().backward()
        optimizer.step()
        means.append(norm.running_mean.clone())
        weights.append(norm.weight.detach().clone())
    assert all(not torch.equal(*pair) for pair in pairwise(weights))
    assert [torch.equal(*pair) for pair in pairwise(means)] == [False, False, True, True]


def test_the_last_part_is_a_share_of_the_run():
    with pytest.raises(ValueError, match=r'^begin=3 of FreezeNormHook must be a number from 0 to 1\.$'):
        FreezeNormHook(begin=3)
