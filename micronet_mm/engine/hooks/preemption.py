"""Save and leave when the machine is wanted for something else."""
import logging
import os.path as osp
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, Optional

import torch
from mmengine.dist import all_gather_object, get_rank, get_world_size, is_main_process
from mmengine.hooks import EMAHook, Hook
from mmengine.logging import print_log
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from micronet_mm.checkpoint.atomic import written_atomically
from micronet_mm.engine.rest_of_epoch import images_per_iteration, random_state, rest_of_epoch
from micronet_mm.validation import Constraint, checked, sequence_of

FILENAME = 'interrupted.pth'
SIGNAL = Constraint('the name of a signal of this system, such as SIGTERM or SIGUSR1',
              lambda name: isinstance(name, str) and name in signal.Signals.__members__)


@HOOKS.register_module()
class PreemptionHook(Hook):
    """On SIGTERM save a checkpoint that can be resumed in the middle of an epoch, and exit.

    Clusters announce that they take a machine away with SIGTERM. The iteration under way is finished,
    ``interrupted.pth`` is written to the work dir and named in ``last_checkpoint``, and the process ends with status
    128 + signal (143). A resumed run continues with the next batch of the epoch. If the batch size or the number of
    processes changed, it skips the images already seen. In one process that loads its own data, it ends with the
    weights of an unbroken run; the generators of dataloader workers start anew. An evaluation that was under way is
    lost. Gradients that are accumulated over several iterations are completed first.

    With several processes all of them leave after the same iteration, no matter which one received the signal. In an
    evaluation they leave after it where the process with the signal has more batches than another one.

    Args:
        signals: names of the signals to obey; Slurm can be asked for others (``--signal=USR1@60``).

    Raises:
        ValueError: if a signal is unknown.

    Example:
        >>> custom_hooks = [dict(type='PreemptionHook', signals=('SIGTERM', 'SIGUSR1'))]
    """
    priority = 'LOWEST'  # after schedulers, averages and other checkpoints

    @checked(signals=sequence_of(SIGNAL))
    def __init__(self, signals: Sequence[str] = ('SIGTERM', )) -> None:
        self.signals = [signal.Signals[name] for name in signals]
        self.previous: dict[signal.Signals, Any] = {}
        self.received: Optional[signal.Signals] = None
        self.busy = True  # with what must not be broken off: an iteration, the end of an epoch
        self.resumed: dict[str, Any] = {}  # of the checkpoint, what is ours
        self.images_done = 0  # of the epoch under way, before its first iteration in this process
        self.epoch = self.first = 0  # the epoch under way, and its first iteration in this process
        self.states: Optional[list[dict]] = None
        self.evaluating = False
        self.shared_val_iters = 0  # evaluation iterations that every process has

    # Resuming.

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        self.resumed = {key: checkpoint[key] for key in ('random_states', 'images_done') if key in checkpoint}

    def before_train(self, runner: Runner) -> None:
        self.runner = runner
        self.group = torch.distributed.new_group(backend='gloo') if get_world_size() > 1 else None
        self.whole_epoch = None
        self.remember(runner.iter, runner.epoch)
        loop = runner.train_loop
        self.images_done = 0
        if isinstance(loop, EpochBasedTrainLoop):
            done = self.resumed.get('images_done', 0) // images_per_iteration(loop.dataloader)
            if 0 < done < len(loop.dataloader):
                states = self.resumed.get('random_states', [])
                state = states[get_rank()] if len(states) == get_world_size() else None
                runner.logger.info(f'Continuing epoch {loop.epoch + 1} after its first {done} iterations; the log '
                                   'counts the rest of this epoch from 1.')
                self.images_done = done * images_per_iteration(loop.dataloader)
                self.whole_epoch, loop.dataloader = loop.dataloader, rest_of_epoch(loop.dataloader, done, state)
        if threading.current_thread() is not threading.main_thread():
            runner.logger.warning('PreemptionHook does nothing: only the main thread of a process can obey signals.')
            return
        for number in self.signals:
            self.previous[number] = signal.signal(number, self.receive)

    def after_train(self, runner: Runner) -> None:
        for number, handler in self.previous.items():
            signal.signal(number, handler)

    def before_train_epoch(self, runner: Runner) -> None:
        self.epoch, self.first = runner.epoch, runner.iter

    # Leaving.

    def receive(self, number: int, frame: Optional[FrameType]) -> None:
        """The signal handler."""
        self.received = signal.Signals(number)
        # The whole process group may be dying: that workers go too is no error then.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        print_log(f'{self.received.name} received', 'current', logging.WARNING)
        if not self.busy and self.group is None:  # waiting for data, which may never come
            self.save_and_exit()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        self.busy = True

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                         outputs: Optional[dict] = None) -> None:
        self.remember(runner.iter + 1, runner.epoch)
        # Gradients that are being accumulated are not saved, and after the last iteration of an epoch
        # schedulers still have to step.
        accumulating = not getattr(runner.optim_wrapper, 'should_update', lambda: True)()
        by_epoch = isinstance(runner.train_loop, EpochBasedTrainLoop)
        self.busy = accumulating or (by_epoch and self.end_of_epoch(runner.train_dataloader, batch_idx))
        if not self.busy and self.agreed():
            self.save_and_exit()

    def after_train_epoch(self, runner: Runner) -> None:
        if self.whole_epoch is not None:
            runner.train_loop.dataloader, self.whole_epoch = self.whole_epoch, None
        self.images_done = 0
        self.remember(runner.iter, runner.epoch + 1)
        if self.agreed():
            due = runner.val_loop is not None and (runner.epoch + 1) % runner.train_loop.val_interval == 0
            self.save_and_exit(lost='the evaluation due now' if due else 'nothing')

    def before_val_epoch(self, runner: Runner) -> None:
        # A process may have fewer batches than the others. While these go on it waits for them in the metric, so that
        # processes can agree on no more iterations than the shortest of them has, and once more at the end.
        loader = runner.val_dataloader
        self.evaluating = True
        self.shared_val_iters = len(loader) if hasattr(type(loader), '__len__') else 0
        if self.previous and self.group is not None:
            batches = torch.tensor([self.shared_val_iters])
            torch.distributed.all_reduce(batches, torch.distributed.ReduceOp.MIN, group=self.group)
            self.shared_val_iters = int(batches)

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None,
                       outputs: Optional[Sequence] = None) -> None:
        if self.previous and (self.group is None or batch_idx < self.shared_val_iters) and self.agreed():
            self.leave_evaluation(runner)
            self.save_and_exit(lost='the evaluation under way')

    def leave_evaluation(self, runner: Runner) -> None:
        self.evaluating = False
        self.remember(runner.iter, runner.epoch)
        for hook in runner.hooks:
            if isinstance(hook, EMAHook):  # evaluation borrows the averaged weights
                hook.after_val_epoch(runner)

    def after_val_epoch(self, runner: Runner, metrics: Optional[dict] = None) -> None:
        self.evaluating = False
        if self.previous and self.agreed():
            self.remember(runner.iter, runner.epoch)
            self.save_and_exit()

    def agreed(self) -> bool:
        """Whether any process received a signal."""
        if self.group is None:
            return self.received is not None
        flag = torch.tensor([int(self.received or 0)])
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX, group=self.group)
        if flag.item():
            self.received = signal.Signals(flag.item())
        return self.received is not None

    def remember(self, iteration: int, epoch: int) -> None:
        """Store the point from which a resumed run continues."""
        self.point = dict(iter=iteration, epoch=epoch)
        self.state = random_state()

    def save_and_exit(self, lost: str = 'nothing') -> None:
        """Write the checkpoint and end the process."""
        path = self.save()
        runner = self.runner
        runner.logger.warning(f'{self.received.name}: saved {path} after iteration {self.point["iter"]}; {lost} is '
                              'lost. Go on with --resume.')
        if self.group is not None:
            torch.distributed.barrier(group=self.group)
        raise SystemExit(128 + self.received)

    def save(self) -> str:
        """Write the checkpoint of the point that is remembered, and return its path."""
        self.busy = True
        runner = self.runner
        self.states = all_gather_object(self.state)
        runner.save_checkpoint(runner.work_dir, FILENAME, meta=self.point, by_epoch=False,
                               backend_args=dict(backend='atomic'))
        path = osp.join(runner.work_dir, FILENAME)
        if is_main_process():
            with written_atomically(osp.join(runner.work_dir, 'last_checkpoint')) as file:
                file.write(path.encode())
        return path

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        meta, loop = checkpoint['meta'], runner.train_loop
        # A checkpoint by iterations may be in the middle of an epoch too. What is counted is images, as the next run
        # may have another batch.
        if isinstance(loop, EpochBasedTrainLoop) and meta['epoch'] == self.epoch:
            dataloader = self.whole_epoch or loop.dataloader
            done = (meta['iter'] - self.first) * images_per_iteration(dataloader)
            checkpoint['images_done'] = self.images_done + done
        if self.states is not None:
            checkpoint['random_states'] = self.states


@contextmanager
def keeping_epoch(runner: Runner) -> Iterator[None]:
    """Save what was trained if an evaluation fails, as it would be lost where checkpoints are not of every epoch."""
    try:
        yield
    except Exception:
        hook = next((hook for hook in runner.hooks if isinstance(hook, PreemptionHook)), None)
        if hook is not None and hook.evaluating and get_world_size() == 1:
            hook.leave_evaluation(runner)
            runner.logger.warning(f'The evaluation failed. What was trained until then is in {hook.save()}.')
        raise
