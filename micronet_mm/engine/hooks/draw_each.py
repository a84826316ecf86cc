"""Draw what a model makes of every image of a test set."""
import inspect
import os.path as osp
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from micronet_mm.engine.errors import RunStopped
from micronet_mm.validation import BUILT, FILE, checked


@HOOKS.register_module()
class DrawEachHook(Hook):
    """Let the visualization hook of mmdet, mmpose or mmpretrain draw every image into its own file.

    These hooks name a drawing by the last part of the image's path, so images with equal names replace each other.
    mmpretrain's hook draws only some images. This hook draws all of them, in the folder structure of the images.

    Args:
        hook: config of the host's hook.
        out_dir: folder for the drawings.

    Raises:
        RunStopped: from within the run, if a drawing would be written where its image is.
    """

    @checked(hook=BUILT, out_dir=FILE)
    def __init__(self, hook: dict, out_dir: str) -> None:
        # mmdet's hook has its own names for what mmpose's and mmpretrain's call enable and out_dir.
        with HOOKS.switch_scope_and_registry(None) as registry:
            names = inspect.signature(registry.get(hook['type'])).parameters
        switch, self.folder_attribute = ('draw', 'test_out_dir') if 'draw' in names else ('enable', 'out_dir')
        self.hook = HOOKS.build({**hook, switch: True, 'interval': 1})
        self.out_dir = Path(out_dir).resolve()
        self.drawn = 0

    def after_test_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                        outputs: Optional[Sequence] = None) -> None:
        for index, sample in enumerate(outputs or []):
            folder = self.out_dir / place(sample.get('img_path'), runner.test_dataloader.dataset)
            self.check(folder, sample.get('img_path'))
            folder.mkdir(parents=True, exist_ok=True)
            setattr(self.hook, self.folder_attribute, str(folder))
            one = {key: values[index:index + 1] for key, values in data_batch.items()}
            self.hook.after_test_iter(runner, self.drawn, one, [sample])
            self.drawn += 1

    def check(self, folder: Path, image: Optional[str]) -> None:
        """Raise if ``folder`` contains the image."""
        if image and folder.exists() and osp.exists(image) and osp.samefile(folder, osp.dirname(image) or '.'):
            raise RunStopped(f'{folder} holds the images of the test set, and drawings would be written among or over '
                             'them; name another folder.')


def place(image: Optional[str], dataset: Any) -> Path:
    """The folder of an image within its dataset."""
    while not hasattr(dataset, 'data_prefix') and hasattr(dataset, 'dataset'):  # a wrapper
        dataset = dataset.dataset
    prefixes = getattr(dataset, 'data_prefix', None)
    roots = [*(prefixes.values() if isinstance(prefixes, Mapping) else [prefixes]), getattr(dataset, 'data_root', None)]
    folder = Path(osp.abspath(osp.dirname(image or '')))
    for root in roots:
        if root and folder.is_relative_to(osp.abspath(root)):
            return folder.relative_to(osp.abspath(root))
    return folder.relative_to(folder.anchor) if image else Path()
