"""Checkpoints that survive a crash, a full disk and a broken file."""
import os.path as osp
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ContextManager

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from micronet_mm.checkpoint.atomic import AtomicLocalBackend, remove_unfinished
from micronet_mm.engine.errors import RunStopped
from micronet_mm.engine.resume import resume_newest


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook that cannot lose the last good checkpoint.

    - A checkpoint is written under a temporary name and renamed when it is complete and on disk.
    - Older checkpoints are removed after the new one is written, not before (so ``max_keep_ckpts=1`` needs the space
      of two).
    - ``resume`` without a named checkpoint skips broken checkpoints with a warning and takes the newest complete one.

    Args:
        **kwargs: as for MMEngine's CheckpointHook. With a remote ``out_dir`` or your own ``backend_args``, the backend
            decides how files are written.

    Example:
        >>> default_hooks = dict(checkpoint=dict(type='SafeCheckpointHook', interval=1))
    """

    def __init__(self, **kwargs: Any) -> None:
        if '://' not in (kwargs.get('out_dir') or '') and not kwargs.get('file_client_args'):
            kwargs['backend_args'] = kwargs.get('backend_args') or dict(backend='atomic')
        super().__init__(**kwargs)

    def before_run(self, runner: Runner) -> None:
        """Clear away what a killed run was writing, and choose what to resume from."""
        if is_main_process():
            remove_unfinished(runner.work_dir)
        if getattr(runner, '_resume', False) and runner._load_from is None:
            resume_newest(runner)

    def before_train(self, runner: Runner) -> None:
        super().before_train(runner)
        # The best checkpoint of another work dir, which this run was copied or resumed from, stays there.
        best = getattr(self, 'best_ckpt_path', None)
        if best and not is_in(best, self.out_dir):
            self.best_ckpt_path = None
        for name, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            if path and not is_in(path, self.out_dir):
                self.best_ckpt_path_dict[name] = None

    def _removing_last(self) -> ContextManager[None]:
        backend = self.file_backend
        return backend.removing_last() if isinstance(backend, AtomicLocalBackend) else nullcontext()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        if self.save_best:
            self._check_best(runner, metrics)
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)

    def _check_best(self, runner: Runner, metrics: dict) -> None:
        """Forget the best score of a resumed run if it is of another metric; a metric that is not there is an error."""
        names = [next(iter(metrics)) if name == 'auto' else name for name in self.key_indicators]
        for name in names:
            if name not in metrics:
                raise RunStopped(f'save_best={name!r} of the checkpoint hook is not among the metrics of this '
                                 f'evaluation: {", ".join(metrics)}. Set save_best to one of these, then --resume.')
        found = runner.message_hub.runtime_info
        best = str(found.get('best_ckpt', ''))
        if len(names) == 1 and best and not Path(best).name.startswith(f'best_{names[0]}_'.replace('/', '_')):
            runner.logger.warning(f'{best} of the resumed run is the best by another metric than {names[0]}; it is '
                                  'kept, and the best score starts anew.')
            for name in ('best_ckpt', 'best_score'):
                found.pop(name, None)
            self.best_ckpt_path = None


def is_in(path: str, folder: str) -> bool:
    return osp.abspath(osp.dirname(path)) == osp.abspath(folder) or '://' in str(folder)
