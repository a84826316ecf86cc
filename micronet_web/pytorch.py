"""A config and its checkpoint, run by PyTorch in the place of an exported file.

The model computes what its exported file is compared with, decoding included, and says of itself what the exporter
would write into that. So ``micronet_runtime`` prepares pictures and reads results as it does for files, and the same is
timed.
"""
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Optional

import numpy as np
import torch
from torch import nn

from micronet_mm import __version__
from micronet_mm.analysis.from_config import madds
from micronet_mm.checkpoint import CheckpointError, allow_named
from micronet_mm.commands.trained import load_trained, untrained_model
from micronet_mm.deploy import metadata as contract
from micronet_mm.deploy.assemble import assemble, default_size
from micronet_mm.engine.checks.paths import require
from micronet_mm.engine.cli import read_config
from micronet_runtime import InputError, Model
from micronet_runtime.metadata import parse


@contextmanager
def input_errors() -> Iterator[None]:
    """Make the errors of a config or checkpoint that cannot be used those of ``micronet_runtime``."""
    try:
        yield
    except (FileNotFoundError, ImportError, ValueError, CheckpointError) as error:
        raise InputError(str(error.__cause__ or error)) from None  # MMEngine wraps a failed import in a page of text


def task_of_pair(config: str, checkpoint: str) -> str:
    """Of what is not loaded yet; InputError for files that are missing or of no task."""
    with input_errors():
        require(checkpoint, 'the page', 'Name an existing checkpoint.')
        return contract.task_of(read_config(config))


class TorchSession:
    """A model called as a session of ONNX Runtime is."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def run(self, names: None, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            return [output.numpy() for output in self.model(*map(torch.from_numpy, feed.values()))]


class TorchModel(Model):
    """What ``micronet_runtime.Model`` is to a file, on the CPU.

    Args:
        config: of mmdet, mmpose or mmpretrain, with a test pipeline that can be exported.
        checkpoint: its weights.
        threads: of PyTorch, in the whole process; by default its choice.

    Raises:
        InputError: for what ``tools/export.py`` would not export either.
    """

    def __init__(self, config: str, checkpoint: str, threads: Optional[int] = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        with input_errors():
            cfg = read_config(config)
            allow_named(cfg.get('safe_globals') or [])
            task, size = contract.task_of(cfg), default_size(cfg)
            require(checkpoint, 'the page', 'Name an existing checkpoint.')
            model = load_trained(untrained_model(cfg), checkpoint)
            batch = 1 if task == 'detection' else None
            description = contract.describe(cfg, task, model, size, batch, True, __version__, raw=False)
            description['madds'] = madds(cfg, description, size)
            whole = assemble(cfg, task, model, deploy=False)
        self.path, self.session, self.outputs = checkpoint, TorchSession(whole), whole.output_names
        self.takes_extent = getattr(whole, 'takes_extent', False)
        self.metadata = parse(json.dumps(description), checkpoint)
