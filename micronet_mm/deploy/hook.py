"""Evaluating what will be deployed."""
from copy import deepcopy

from mmengine.hooks import Hook
from mmengine.runner import Runner

from micronet_mm.deploy.fold import check_engine, switch_to_deploy


class SwitchToDeployHook(Hook):
    """Has the deploy form of the model tested, with its weights as they are then.

    The form is made of a copy: MMEngine's EMAHook exchanges the weights of the trained one around the test.

    Args:
        engine, weights: what runs it, as for :func:`micronet_mm.deploy.switch_to_deploy`.

    Raises:
        ValueError: if there is no such engine, or no such type of weights for it.
    """
    priority = 'LOW'

    def __init__(self, engine: str = 'pytorch', weights: str = 'float32') -> None:
        check_engine(engine, weights)
        self.settings = dict(engine=engine, weights=weights)

    def before_test_epoch(self, runner: Runner) -> None:
        runner.model = switch_to_deploy(deepcopy(getattr(runner.model, 'module', runner.model)), **self.settings)
