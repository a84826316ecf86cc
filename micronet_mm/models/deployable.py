"""A mixin with the method that folds a model for deployment."""
from typing import Optional


class Deployable:
    """A model with MMLab's method ``switch_to_deploy``."""

    def switch_to_deploy(self, test_cfg: Optional[dict] = None, engine: str = 'pytorch',
                         weights: str = 'float32') -> None:
        """Fold normalization and permutations away, in place; see :func:`micronet_mm.deploy.switch_to_deploy`.

        Args:
            test_cfg: ignored; mmpose's estimators pass it.
            engine: 'pytorch', or 'native' to run in C++.
            weights: of linear layers in C++, 'float32', 'bfloat16' or 'int8'.
        """
        from micronet_mm.deploy import switch_to_deploy  # deploy imports models
        switch_to_deploy(self, engine, weights)
