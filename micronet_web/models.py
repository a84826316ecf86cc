"""Which models the page offers: each by the files that hold it, one for an engine."""
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Union

from micronet_runtime import InputError, MissingInputError, Model
from micronet_runtime.plan import is_plan

ONNX, PLAN, PYTORCH = 'ONNX Runtime', 'native plan', 'PyTorch'
ENGINES = (ONNX, PLAN, PYTORCH)  # in the order in which they are shown
TASKS = {'detection': 'Detector', 'keypoints': 'Pose', 'classification': 'Classifier'}
Pair = tuple[str, str]  # a config and its checkpoint
Source = Union[str, Pair]


@dataclass(frozen=True)
class Offer:
    """A model to choose.

    Args:
        name: shown to people.
        task: one of :data:`TASKS`.
        sources: by engine, the exported file or the pair that it runs.
        note: what has to be known of the model, such as that its weights are random.
    """
    name: str
    task: str
    sources: dict[str, Source]
    note: str = ''

    @property
    def label(self) -> str:
        return f'{self.name} ({self.note})' if self.note else self.name

    @property
    def engines(self) -> list[str]:
        return [engine for engine in ENGINES if engine in self.sources]


def find_models(folder: Union[str, Path]) -> list[Offer]:
    """The exported files of a folder, sorted by name. One that cannot be served is named on stderr and left out.

    Raises:
        MissingInputError, InputError: if there is no such folder, or nothing in it can be served.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise MissingInputError(f'{folder} is no folder; name one of exported files.')
    offers = []
    for path in sorted(path for path in folder.iterdir() if path.suffix in ('.onnx', '.plan') and path.is_file()):
        try:
            offers.append(offer_of_file(path))
        except InputError as error:
            print(f'{error} It is left out.', file=sys.stderr)
    if not offers:
        raise InputError(f'{folder} holds no model that can be served; export some with tools/export.py.')
    return offers


def offer_of_file(path: Union[str, Path]) -> Offer:
    """An exported file, named as it is; InputError if it gives nothing that can be drawn."""
    metadata = Model(path, threads=1).metadata
    if metadata.task not in TASKS or metadata.raw:
        raise InputError(f'{path} gives {"raw maps" if metadata.raw else metadata.task}, which cannot be drawn.')
    return Offer(Path(path).stem, metadata.task, {PLAN if is_plan(str(path)) else ONNX: str(path)})


def offer_of_pair(config: str, checkpoint: str) -> Offer:
    """A config and a checkpoint, named as the config is.

    Raises:
        InputError: if they are not there, or are for none of our tasks.
    """
    from .pytorch import task_of_pair
    return Offer(Path(config).stem, task_of_pair(config, checkpoint), {PYTORCH: (config, checkpoint)})


def offered(offers: Iterable[Offer]) -> list[Offer]:
    """One offer for all files of a name and a task; where an engine would have two, the later says where it lies."""
    found: dict[tuple[str, str], Offer] = {}
    for offer in offers:
        there = found.get((offer.label, offer.task))
        if there is None:
            found[offer.label, offer.task] = offer
        elif not set(there.sources) & set(offer.sources):
            found[offer.label, offer.task] = replace(there, sources={**there.sources, **offer.sources})
        else:
            source = next(iter(offer.sources.values()))
            other = replace(offer, name=f'{offer.name}, {source if isinstance(source, str) else source[1]}')
            found[other.label, other.task] = other
    return list(found.values())
