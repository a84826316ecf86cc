"""Evaluating what will be deployed."""
from mmengine.hooks import Hook
from mmengine.runner import Runner

from .form import switch_to_deploy


class SwitchToDeployHook(Hook):
    """Puts the model into its deploy form before it is tested, when its weights are loaded."""

    def before_test(self, runner: Runner) -> None:
        switch_to_deploy(getattr(runner.model, 'module', runner.model))
