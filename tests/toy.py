"""A training run small enough to be broken often: MicroNet-M0 on noise, through MMEngine alone.

``tools/train.py`` runs it from a config that imports this module; see :func:`write_toy`.
"""
import os
import signal
from pathlib import Path

import cv2
import numpy as np
import torch
from mm import ROOT, call
from mmengine.dataset import BaseDataset
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS, TRANSFORMS
from mmengine.structures import BaseDataElement

from micronet_mm.models import MicroNet, MicroNetClassifier

TRAIN = ROOT / 'tools' / 'train.py'
ENV = dict(os.environ, OMP_NUM_THREADS='1', PYTHONPATH=str(Path(__file__).parent))
CONFIG = f'''
_base_ = {str(ROOT / 'configs' / '_base_' / 'robust.py')!r}
default_scope = 'mmengine'
custom_imports = dict(imports=['micronet_mm', 'toy'])
model = dict(type='ToyModel')
dataset = dict(type='ToyDataset', data_root='images', pipeline=[
    dict(type='LoadImageOrSkip'), dict(type='ToyFlip'), dict(type='ToyPack')])
train_dataloader = dict(batch_size=4, num_workers=0, dataset=dataset, sampler=dict(type='DefaultSampler', shuffle=True))
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=3)
optim_wrapper = dict(optimizer=dict(type='SGD', lr=0.02, momentum=0.9))
param_scheduler = dict(type='MultiStepLR', milestones=[1], by_epoch=True)
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=1), checkpoint=dict(type='SafeCheckpointHook', interval=1))
custom_hooks = _base_.robust_hooks
randomness = dict(seed=0, deterministic=True)
'''


def write_toy(folder, text='', images=24):
    """Write ``toy_config.py``, which is CONFIG and ``text``, and pictures of noise in ``images/``."""
    (folder / 'images').mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(images):
        cv2.imwrite(str(folder / 'images' / f'{index:02}.jpg'), rng.integers(0, 255, (64, 64, 3), np.uint8))
    (folder / 'toy_base.py').write_text(CONFIG)
    (folder / 'toy_config.py').write_text("_base_ = './toy_base.py'\n" + text)
    return folder / 'toy_config.py'


def train(folder, *arguments, work_dir='w'):
    """Run ``tools/train.py`` on the config in ``folder``."""
    return call(TRAIN, 'toy_config.py', '--work-dir', work_dir, *arguments, cwd=folder, env=ENV)


def losses(folder, work_dir):
    """What RecordHook wrote: losses by iteration, averaged over the processes."""
    return np.mean([np.loadtxt(path) for path in sorted((folder / work_dir).glob('losses_*.txt'))], axis=0)


def last_line(run):
    return run.stdout.strip().splitlines()[-1]


def assert_same_training_state(first, second):
    """Two checkpoints agree bit for bit in weights, optimizer, schedule and count."""
    first, second = torch.load(first), torch.load(second)
    assert {k: first['meta'][k] for k in ('epoch', 'iter')} == {k: second['meta'][k] for k in ('epoch', 'iter')}
    for key, value in first['state_dict'].items():
        assert torch.equal(value, second['state_dict'][key]), key
    for index, state in first['optimizer']['state'].items():
        assert all(torch.equal(value, second['optimizer']['state'][index][name]) for name, value in state.items())
    for name in ('lr', 'last_step', '_global_step'):
        assert [s.get(name) for s in first['param_schedulers']] == [s.get(name) for s in second['param_schedulers']]


@DATASETS.register_module()
class ToyDataset(BaseDataset):
    """The pictures of a folder; the label is whether the name is odd."""

    def load_data_list(self):
        return [dict(img_path=str(path), label=int(path.stem) % 2) for path in sorted(Path(self.data_root).iterdir())]


@TRANSFORMS.register_module()
class ToyFlip:
    """Draws from NumPy, as MMLab's augmentations do."""

    def __call__(self, results):
        if np.random.rand() < 0.5:
            results['img'] = results['img'][:, ::-1]
        return results


@TRANSFORMS.register_module()
class ToyPack:

    def __call__(self, results):
        image = torch.from_numpy(np.ascontiguousarray(results['img'])).permute(2, 0, 1).float() / 255
        sample = BaseDataElement(metainfo=dict(img_path=results['img_path'], label=results['label']))
        return dict(inputs=image, data_samples=sample)


@MODELS.register_module()
class ToyModel(BaseModel):

    def __init__(self, dropout=0.1, ballast=0, double=False, **backbone):
        super().__init__()
        self.backbone = MicroNet('m0', **backbone)
        self.head = MicroNetClassifier(384, 64, num_classes=2, dropout=dropout)
        self.register_buffer('ballast', torch.zeros(ballast))  # makes checkpoints large
        # Two trainings in single precision that round differently part ways within a few iterations.
        self.dtype = torch.double if double else torch.float32
        self.to(self.dtype)

    def forward(self, inputs, data_samples, mode):
        scores = self.head(self.backbone(torch.stack(list(inputs)).to(self.dtype))[-1])
        if mode != 'loss':
            return data_samples
        labels = torch.tensor([sample.label for sample in data_samples])
        return dict(loss=torch.nn.functional.cross_entropy(scores, labels))


@METRICS.register_module()
class ToyMetric(BaseMetric):

    def process(self, data_batch, data_samples):
        self.results += [1] * len(data_samples)

    def compute_metrics(self, results):
        return dict(count=len(results))


@HOOKS.register_module()
class SignalHook(Hook):
    """Sends this process a signal in the middle of an iteration."""

    def __init__(self, number, at, phase='train', rank=None):
        self.number, self.at, self.phase, self.rank = getattr(signal, number), at, phase, rank

    def send(self):
        if self.rank is None or self.rank == int(os.environ['RANK']):
            os.kill(os.getpid(), self.number)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):  # an iteration ends with its hooks
        if self.phase == 'train' and runner.iter + 1 == self.at:
            self.send()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if self.phase == 'val' and runner.epoch == self.at:
            self.send()


@HOOKS.register_module()
class PoisonHook(Hook):
    """Makes the weights NaN."""

    def __init__(self, at):
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter + 1 == self.at:
            with torch.no_grad():
                next(runner.model.parameters()).fill_(float('nan'))


@HOOKS.register_module()
class DeleteHook(Hook):
    """Deletes a picture when the dataset has listed it."""

    def __init__(self, path):
        self.path = Path(path)

    def before_train(self, runner):
        runner.train_dataloader.dataset.full_init()
        self.path.unlink()


@HOOKS.register_module()
class RecordHook(Hook):
    """Writes every iteration's loss, in full precision and per process, into the work dir."""
    priority = 'VERY_LOW'

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        with open(Path(runner.work_dir) / f'losses_{os.environ.get("RANK", 0)}.txt', 'a') as file:
            file.write(f'{float(outputs["loss"]):.17g}\n')
