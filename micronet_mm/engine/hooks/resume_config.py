"""Resuming with a config that was changed."""
import warnings
from collections.abc import Iterator, Mapping
from copy import copy
from types import SimpleNamespace
from typing import Any, NamedTuple

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.scheduler import ReduceOnPlateauParamScheduler
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.registry import HOOKS
from mmengine.runner import EpochBasedTrainLoop, Runner

from micronet_mm.checkpoint.errors import UnfitCheckpointError
from micronet_mm.engine.rest_of_epoch import images_per_iteration

# What a scheduler changes while it runs; all else of it comes from the config.
PROGRESS = {'_global_step', '_last_value', 'last_step', 'verbose', 'best', 'num_bad_steps', 'cooldown_counter'}


class Position(NamedTuple):
    """How far a run has come, and how long its epochs are (0 without epochs)."""
    epoch: int
    iteration: int
    epoch_length: int


@HOOKS.register_module()
class ResumeConfigHook(Hook):
    """Apply the schedule and the optimizer settings of the config to a resumed run.

    MMEngine takes both from the checkpoint and does not report a changed config. A run that is resumed with a longer
    schedule keeps the final learning rate of the shorter schedule. With this hook a resumed run has the learning rate
    of an unbroken run with the new config, and one line names each changed setting. If the config did not change, the
    checkpoint's state is used bit for bit.

    ``ReduceOnPlateauLR`` depends on the metrics of the past: its schedule stays the checkpoint's, with a warning.

    Raises:
        UnfitCheckpointError: from within the run, if the checkpoint's optimizer state is of another optimizer or of
            other parameter groups.

    Example:
        >>> custom_hooks = [dict(type='ResumeConfigHook')]
    """
    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        if not runner._resume or 'optimizer' not in checkpoint:
            return
        meta = checkpoint['meta']
        position = position_of(runner, checkpoint)
        moved = position.iteration != meta['iter']
        if moved:
            runner.logger.warning(
                f'{meta["iter"]} iterations of the checkpoint are {position.iteration} with the batch size and the '
                f'data of this config, which has {position.epoch_length} iterations an epoch.')
            meta['iter'] = position.iteration
        schedulers = runner.param_schedulers if isinstance(runner.param_schedulers, Mapping) else {
            None: runner.param_schedulers or []}
        for name, wrapper in optimizers(runner.optim_wrapper):
            saved = checkpoint['optimizer'] if name is None else checkpoint['optimizer'].get(name, {})
            states = checkpoint.get('param_schedulers') or []
            states = states.get(name, []) if isinstance(states, Mapping) else states
            self.apply(runner, wrapper, schedulers.get(name, []), saved, states, position, moved)
        if runner.param_schedulers:
            # The schedulers are ready: replayed, or loaded from the checkpoint.
            found = {name: [scheduler.state_dict() for scheduler in each] for name, each in schedulers.items()}
            checkpoint['param_schedulers'] = found.get(None, found)
        warn_of_end(runner, position)
        seed, asked = meta.get('seed'), runner._randomness_cfg.get('seed')
        if asked is not None and seed is not None and seed != asked:
            runner.logger.warning(f'The seed of the checkpoint, {seed}, is used, not randomness.seed={asked} of the '
                                  'config, so that the run goes on as it began. For another one, start a new run.')

    def apply(self, runner: Runner, optimizer: OptimWrapper, schedulers: list, saved: dict, states: list,
              position: Position, moved: bool) -> None:
        """Change ``saved``, the state of one optimizer, to the settings of the config."""
        check_groups(optimizer, saved)
        differing = changed_schedules(schedulers, states)
        if any(isinstance(scheduler, ReduceOnPlateauParamScheduler) for scheduler in schedulers) and (
                differing or moved):
            runner.logger.warning(
                'The schedule of the checkpoint is used, since ReduceOnPlateau depends on metrics of the past. To use '
                f'the schedule of the config ({", ".join(differing) or "another number of iterations"}), start a new '
                'run with load_from.')
            differing, moved = [], False
            schedulers_as_saved(schedulers, states)
        elif differing or moved:
            replay(schedulers, optimizer, position)
            rates = sorted({group['lr'] for group in optimizer.param_groups})
            runner.logger.warning(
                f'The schedule of the config is used, not the schedule of the checkpoint '
                f'({"; ".join(differing) or "another number of iterations"}): lr {rates[-1]:g} after epoch '
                f'{position.epoch}, iteration {position.iteration}.')
        else:
            schedulers_as_saved(schedulers, states)
        kept = set() if differing or moved else scheduled(schedulers)
        changes = {}
        for group, old in zip(optimizer.param_groups, saved['param_groups']):
            for key, value in group.items():
                if key == 'params' or key in kept:
                    continue
                if old.get(key) != value and key not in scheduled(schedulers):
                    changes[key] = f'{key} {old.get(key)} -> {value}'
                old[key] = value
        if changes:
            runner.logger.warning('The optimizer settings of the config are used, not the settings of the checkpoint: '
                                  f'{", ".join(changes.values())}.')


def optimizers(wrapper: Any) -> Iterator[tuple[Any, OptimWrapper]]:
    """Each optimizer of a run, with its name if there are several."""
    yield from wrapper.items() if isinstance(wrapper, OptimWrapperDict) else [(None, wrapper)]


def position_of(runner: Runner, checkpoint: dict) -> Position:
    """Where an unbroken run with this batch size and data is after the epochs of a checkpoint."""
    loop, meta = runner.train_loop, checkpoint['meta']
    if not isinstance(loop, EpochBasedTrainLoop):
        return Position(0, meta['iter'], 0)
    length = len(loop.dataloader)
    done = checkpoint.get('images_done', 0) // images_per_iteration(loop.dataloader)
    return Position(meta['epoch'], meta['epoch'] * length + min(done, length), length)


def check_groups(optimizer: OptimWrapper, saved: dict) -> None:
    """Raise UnfitCheckpointError if the state of an optimizer does not belong to this one."""
    groups, others = optimizer.param_groups, saved.get('param_groups', [])
    advice = 'Restore optim_wrapper in the config, or start a new run from these weights with load_from.'
    if [len(group['params']) for group in groups] != [len(group['params']) for group in others]:
        raise UnfitCheckpointError(
            f'the optimizer state of the checkpoint has {sum(len(group["params"]) for group in others)} parameters in '
            f'{len(others)} groups, the optimizer of the config {sum(len(group["params"]) for group in groups)} in '
            f'{len(groups)}. {advice}')
    kinds = [next((key for key in ('betas', 'rho', 'alpha', 'lr_decay', 'momentum') if each and key in each[0]), None)
             for each in (groups, others)]
    if kinds[0] != kinds[1]:
        raise UnfitCheckpointError(
            f'the optimizer state of the checkpoint is of another kind of optimizer: it has '
            f'{kinds[1] or "no momentum"}, the optimizer of the config {kinds[0] or "no momentum"}. {advice}')


def changed_schedules(schedulers: list, states: list) -> list[str]:
    """Name what differs between the schedules of a config, not yet begun, and the states of a checkpoint's."""
    if len(schedulers) != len(states):
        return [f'{len(states)} schedulers -> {len(schedulers)}'] if schedulers else []
    found = []
    for scheduler, state in zip(schedulers, states):
        fresh = scheduler.state_dict()
        # A default that another version added is no difference.
        keys = [key for key, value in fresh.items() if key not in PROGRESS and key in state and state[key] != value]
        if keys or not set(state) - PROGRESS <= set(fresh):
            found.append(f'{type(scheduler).__name__}: ' + (', '.join(
                key if isinstance(fresh[key], (list, dict)) else f'{key} {state[key]} -> {fresh[key]}'
                for key in keys) or 'another type'))
    return found


def schedulers_as_saved(schedulers: list, states: list) -> None:
    for scheduler, state in zip(schedulers, states):
        scheduler.load_state_dict(state)


def scheduled(schedulers: list[_ParamScheduler]) -> set[str]:
    """The optimizer settings that schedulers change."""
    names = {scheduler.param_name for scheduler in schedulers}
    if 'momentum' in names:
        names.add('betas')  # whose first is Adam's momentum
    return names | {f'initial_{name}' for name in names} | {f'max_{name}' for name in names} | {
        f'min_{name}' for name in names}


def replay(schedulers: list[_ParamScheduler], optimizer: OptimWrapper, position: Position) -> None:
    """Step schedules that have not begun to a position, as ParamSchedulerHook does in a run.

    Parameter groups of the same settings are stepped as one, since there may be hundreds.
    """
    groups = optimizer.param_groups
    settings = [{key: value for key, value in group.items() if key != 'params'} for group in groups]
    distinct = [index for index, group in enumerate(settings) if settings.index(group) == index]
    stand_in = SimpleNamespace(param_groups=[dict(settings[index]) for index in distinct], step=optimizer.step,
                               _global_step=1)
    copies = []
    for scheduler in schedulers:
        copied = copy(scheduler)
        copied.optimizer, copied.base_values = stand_in, [scheduler.base_values[index] for index in distinct]
        copies.append(copied)
    by_epoch, by_iteration = ([each for each in copies if each.by_epoch is wanted] for wanted in (True, False))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of scheduler steps before optimizer steps
        for iteration in range(1, position.iteration + 1):
            for each in by_iteration:
                each.step()
            if position.epoch_length and iteration % position.epoch_length == 0:
                for each in by_epoch:
                    each.step()
    places = [distinct.index(settings.index(group)) for group in settings]
    for scheduler, copied in zip(schedulers, copies):
        scheduler.last_step, scheduler._global_step = copied.last_step, copied._global_step
        scheduler._last_value = [copied._last_value[place] for place in places]
    for group, place in zip(groups, places):
        group.update(stand_in.param_groups[place])


def warn_of_end(runner: Runner, position: Position) -> None:
    """Say so if nothing is left to train."""
    name, done, length = ('epochs', position.epoch, runner.max_epochs) if position.epoch_length else (
        'iterations', position.iteration, runner.max_iters)
    if done >= length:
        runner.logger.warning(f'The checkpoint has {done} {name} and train_cfg.max_{name} is {length}, so that nothing '
                              f'is left to train. To train for longer, set train_cfg.max_{name}.')
