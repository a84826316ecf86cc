"""Whether a dataset has the keypoints that a model finds."""
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from micronet_mm.engine.errors import RunStopped


@HOOKS.register_module()
class NumKeypointsHook(Hook):
    """Compare the number of keypoints in the annotations, the dataset's metainfo and the head before anything is run.

    mmpose does not, and fails in some later array operation.

    Raises:
        RunStopped: from within the run, if they differ.

    Example:
        >>> custom_hooks = [dict(type='NumKeypointsHook')]
    """

    def before_train(self, runner: Runner) -> None:
        self.check(runner, runner.train_dataloader.dataset, 'train_dataloader')

    def before_val(self, runner: Runner) -> None:
        self.check(runner, runner.val_dataloader.dataset, 'val_dataloader')

    def before_test(self, runner: Runner) -> None:
        self.check(runner, runner.test_dataloader.dataset, 'test_dataloader')

    def check(self, runner: Runner, dataset: Any, loader: str) -> None:
        """Raise if the dataset does not fit the head."""
        head = (runner.model.module if is_model_wrapper(runner.model) else runner.model).head
        described = dataset.metainfo.get('num_keypoints', head.out_channels)
        if len(dataset) and 'keypoints' in (sample := dataset.get_data_info(0)):
            annotated = sample['keypoints'].shape[-2]
            if annotated != described:
                raise RunStopped(f'{dataset.ann_file} annotates {annotated} keypoints a person, but the metainfo of '
                                 f'{loader} describes {described}: give the file that belongs to it, or '
                                 'dataset.metainfo=dict(from_file=...) that describes these.')
        if described != head.out_channels:
            raise RunStopped(f'the dataset of {loader} has {described} keypoints by its metainfo, but the head finds '
                             f'{head.out_channels}: set model.head.out_channels={described}.')
