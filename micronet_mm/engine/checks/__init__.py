"""All that is looked into before anything is built from a config."""
import logging
from collections.abc import Sequence

from mmengine.config import Config
from mmengine.logging import print_log

from .data import check_data
from .model import check_consistency
from .paths import check_files


def check_all(cfg: Config, loaders: Sequence[str], evaluators: Sequence[str], skips: bool = False) -> None:
    """Run the checks of files, data and consistency.

    Args:
        cfg: a full config, changed in place where something is repaired.
        loaders: dataloaders that will be used.
        evaluators: evaluators that will be used.
        skips: check nothing but whether files exist.
    """
    check_files(cfg, loaders, evaluators)
    if skips:
        print_log('--no-checks: data and config are not checked against each other, and nothing is repaired.',
                  'current', logging.WARNING)
        return
    check_data(cfg, loaders, evaluators)
    check_consistency(cfg, loaders, evaluators)
