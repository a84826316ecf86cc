"""Checkpoints that survive a crash, a full disk and a broken file."""
from contextlib import nullcontext
from typing import Any, ContextManager

from mmengine.dist import is_main_process
from mmengine.hooks import CheckpointHook
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from micronet_mm.checkpoint.atomic import AtomicLocalBackend, remove_unfinished
from micronet_mm.engine.resume import resume_newest


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """MMEngine's CheckpointHook that cannot lose the last good checkpoint.

    - A checkpoint is written under a temporary name and renamed when it is complete and on disk.
    - Older checkpoints are removed after the new one is written, not before (so ``max_keep_ckpts=1`` needs the space
      of two).
    - ``resume`` without a named checkpoint passes over broken ones, with a warning, to the newest that is whole.

    Args:
        **kwargs: as for MMEngine's CheckpointHook. With a remote ``out_dir`` or ``backend_args`` of your own, writing
            is the backend's affair.

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

    def _removing_last(self) -> ContextManager[None]:
        backend = self.file_backend
        return backend.removing_last() if isinstance(backend, AtomicLocalBackend) else nullcontext()

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)
