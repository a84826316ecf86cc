"""Whether the learning rate gets where it should."""
import logging
from itertools import chain

from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class WarmUpHook(Hook):
    """Say so when a warm-up is longer than the run, as on a dataset much smaller than the one it was made for.

    The learning rate then never arrives, which only the log of the losses tells.

    Example:
        >>> custom_hooks = [dict(type='WarmUpHook')]
    """

    def before_train(self, runner: Runner) -> None:
        schedules = runner.param_schedulers or []
        for schedule in chain(*schedules.values()) if isinstance(schedules, dict) else schedules:
            length, unit = (runner.max_epochs, 'epochs') if schedule.by_epoch else (runner.max_iters, 'iterations')
            start = getattr(schedule, 'start_factor', getattr(schedule, 'factor', 1))
            if start < 1 and schedule.begin == 0 and length < schedule.end:
                runner.logger.log(logging.WARNING, (
                    f'the warm-up of {schedule.end} {unit} is longer than this run of {length}, so the learning rate '
                    f'never gets where it should: set end of the {type(schedule).__name__} in param_scheduler to a '
                    'tenth of the run, or train for longer.'))
