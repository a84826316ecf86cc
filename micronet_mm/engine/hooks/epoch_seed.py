"""Exact resuming: random numbers that depend on the epoch, not on what ran before it."""
import numpy as np
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner, set_random_seed


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed Python's, NumPy's and PyTorch's generators at the start of every epoch, from the run's seed and the epoch.

    MMEngine's checkpoints contain the run's seed but no generator states. With this hook a resumed run shuffles,
    augments and ends exactly like an unbroken run of the same seed. This holds for one process that loads its own data;
    PyTorch seeds the generators of dataloader workers.

    Example:
        >>> custom_hooks = [dict(type='EpochSeedHook')]
    """
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        # The sampler was built before the checkpoint told a resumed run its seed.
        sampler = getattr(runner.train_dataloader.batch_sampler, 'sampler', None)
        if hasattr(sampler, 'seed'):
            sampler.seed = runner.seed

    def before_train_epoch(self, runner: Runner) -> None:
        seed = np.random.SeedSequence([runner.seed, runner.epoch]).generate_state(1)[0]
        set_random_seed(int(seed))
