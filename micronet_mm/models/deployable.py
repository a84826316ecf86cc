"""What all models here can be asked to become."""
from typing import Optional


class Deployable:
    """A model with MMLab's method to put it into its deploy form."""

    def switch_to_deploy(self, test_cfg: Optional[dict] = None, engine: str = 'pytorch',
                         weights: str = 'float32') -> None:
        """Fold normalization and permutations away, in place; see :func:`micronet_mm.deploy.switch_to_deploy`.

        Args:
            test_cfg: which mmpose's estimators give; it does not matter here.
            engine: 'pytorch', or 'native' to run in C++.
            weights: of linear layers in C++, 'float32', 'bfloat16' or 'int8'.
        """
        from micronet_mm.deploy import switch_to_deploy  # which is made of models, as this one
        switch_to_deploy(self, engine, weights)
