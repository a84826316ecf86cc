"""A resumed run follows the config that it is resumed with."""
import logging
from itertools import count

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import Runner
from torch.utils.data import Dataset

from micronet_mm.checkpoint.errors import UnfitCheckpointError

NUMBERS = count()


@DATASETS.register_module()
class Numbers(Dataset):
    metainfo = None

    def __len__(self):
        return 24

    def __getitem__(self, index):
        return dict(inputs=torch.tensor([index / 24.]))


@MODELS.register_module()
class Line(BaseModel):

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode):
        return dict(loss=self.layer(torch.stack(list(inputs))).square().mean())


def run(folder, epochs, schedule, resume=False, batch=4, optimizer=None, checkpoint=None, **more):
    """Train; returns each iteration's learning rates and momenta, and what was logged as a warning."""
    DefaultScope._instance_dict.clear()
    settings = dict(
        model=dict(type='Line'), work_dir=str(folder), resume=resume, experiment_name=str(next(NUMBERS)),
        train_dataloader=dict(batch_size=batch, num_workers=0, dataset=dict(type='Numbers'),
                              sampler=dict(type='DefaultSampler', shuffle=False)),
        train_cfg=dict(by_epoch=True, max_epochs=epochs), param_scheduler=schedule,
        optim_wrapper=dict(optimizer=optimizer or dict(type='SGD', lr=0.02, momentum=0.9)),
        custom_hooks=[dict(type='EpochSeedHook'), dict(type='ResumeConfigHook'), dict(type='PreemptionHook')],
        default_hooks=dict(checkpoint=dict(type='SafeCheckpointHook', interval=1, **(checkpoint or {}))),
        randomness=dict(seed=0), default_scope='mmengine', log_level='WARNING')
    runner = Runner.from_cfg(Config({**settings, **more}))
    said, rates = [], []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    runner.logger.addHandler(handler)
    step = runner.model.train_step

    def watched(data, optim_wrapper):
        rates.append(tuple((group['lr'], group.get('momentum')) for group in optim_wrapper.param_groups))
        return step(data, optim_wrapper)

    runner.model.train_step = watched
    runner.train()
    return rates, said


def cosine(epochs, **more):
    return dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, by_epoch=True, **more)


SCHEDULES = {
    'cosine by iterations': lambda epochs: [cosine(epochs, convert_to_iter_based=True)],
    'cosine by epochs': lambda epochs: [cosine(epochs, eta_min=1e-4)],
    'warm-up and cosine': lambda epochs: [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2 * epochs),
        dict(type='CosineAnnealingLR', T_max=epochs - 1, begin=1, end=epochs, convert_to_iter_based=True)],
    'steps': lambda epochs: [dict(type='MultiStepLR', milestones=[epochs // 2, epochs - 1], by_epoch=True)],
    'one cycle': lambda epochs: [dict(type='OneCycleLR', eta_max=0.05, total_steps=6 * epochs, by_epoch=False)],
    'polynomial, without an end': lambda epochs: [dict(type='PolyLR', power=0.9, by_epoch=False, end=6 * epochs)],
    'momentum': lambda epochs: [
        cosine(epochs), dict(type='CosineAnnealingMomentum', T_max=epochs, end=epochs, eta_min=0.5)],
}


@pytest.mark.parametrize('name', SCHEDULES)
def test_a_longer_schedule_is_that_of_an_unbroken_run(name, tmp_path):
    unbroken, _ = run(tmp_path / 'unbroken', 6, SCHEDULES[name](6))
    run(tmp_path / 'w', 2, SCHEDULES[name](2))
    resumed, said = run(tmp_path / 'w', 6, SCHEDULES[name](6), resume=True)
    assert resumed == unbroken[12:]
    assert [text for text in said if 'The schedule of the config is used, not the schedule of the checkpoint' in text]
    # The same config again: everything is the checkpoint's, and nothing is said of it.
    (tmp_path / 'w' / 'last_checkpoint').write_text(str(tmp_path / 'w' / 'epoch_4.pth'))
    again, said = run(tmp_path / 'w', 6, SCHEDULES[name](6), resume=True)
    assert again == unbroken[24:] and not [text for text in said if 'is used' in text or 'are used' in text]


def test_settings_of_the_optimizer_are_the_config_s(tmp_path):
    run(tmp_path / 'w', 1, None)
    rates, said = run(tmp_path / 'w', 2, None, resume=True,
                      optimizer=dict(type='SGD', lr=0.5, momentum=0.7, weight_decay=0.1))
    assert rates == [((0.5, 0.7), )] * 6
    assert [text for text in said if 'optimizer settings' in text] == [
        'The optimizer settings of the config are used, not the settings of the checkpoint: lr 0.02 -> 0.5, momentum '
        '0.9 -> 0.7, weight_decay 0 -> 0.1.']
    state = torch.load(tmp_path / 'w' / 'epoch_2.pth')['optimizer']
    assert state['param_groups'][0]['weight_decay'] == 0.1 and state['state']


def test_a_changed_rate_moves_the_schedule(tmp_path):
    unbroken, _ = run(tmp_path / 'unbroken', 4, SCHEDULES['steps'](4), optimizer=dict(type='SGD', lr=1., momentum=0.9))
    run(tmp_path / 'w', 2, SCHEDULES['steps'](4))
    resumed, _ = run(tmp_path / 'w', 4, SCHEDULES['steps'](4), True, optimizer=dict(type='SGD', lr=1., momentum=0.9))
    assert resumed == unbroken[12:]


def test_another_batch_size_keeps_the_place_in_a_schedule_by_iterations(tmp_path):
    unbroken, _ = run(tmp_path / 'unbroken', 4, SCHEDULES['cosine by iterations'](4), batch=8)
    run(tmp_path / 'w', 2, SCHEDULES['cosine by iterations'](4), batch=4)
    resumed, said = run(tmp_path / 'w', 4, SCHEDULES['cosine by iterations'](4), True, batch=8)
    assert resumed == unbroken[6:]
    assert any('12 iterations of the checkpoint are 6 with the batch size' in text for text in said)


@pytest.mark.parametrize(('optimizer', 'message'), [
    (dict(type='AdamW', lr=0.1), 'of another kind of optimizer: it has momentum, the optimizer of the config betas'),
    (dict(type='SGD', lr=0.1), None),
])
def test_another_optimizer(optimizer, message, tmp_path):
    run(tmp_path / 'w', 1, None)
    if message is None:
        assert run(tmp_path / 'w', 2, None, True, optimizer=optimizer)[0][0] == ((0.1, 0), )
        return
    with pytest.raises(UnfitCheckpointError, match=message):
        run(tmp_path / 'w', 2, None, True, optimizer=optimizer)


def test_other_groups_of_parameters_get_one_line(tmp_path):
    run(tmp_path / 'w', 1, None)
    with pytest.raises(UnfitCheckpointError, match='has 2 parameters in 1 groups, the optimizer of the config'):
        run(tmp_path / 'w', 2, None, True, optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.1), paramwise_cfg=dict(bias_lr_mult=2.)))


def test_what_else_a_checkpoint_decides_is_said(tmp_path):
    plateau = [dict(type='ReduceOnPlateauLR', monitor='loss', by_epoch=True, patience=1)]
    run(tmp_path / 'w', 2, plateau)
    _, said = run(tmp_path / 'w', 2, [dict(plateau[0], patience=3)], True)
    assert any('The checkpoint has 2 epochs and train_cfg.max_epochs is 2, so that nothing is left' in text
               for text in said)
    assert any('The schedule of the checkpoint is used, since ReduceOnPlateau' in text and 'patience 1 -> 3' in text
               for text in said)
