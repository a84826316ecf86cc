"""What an exported file says about itself: JSON below one key of the model's metadata."""
import json
from dataclasses import dataclass
from typing import Any, Optional

from .errors import InputError
from .shown import shown

KEY, FORMAT = 'micronet_mm', 1
MOST = 20  # classes that people care to read
NEEDED = {'classification': ('classes', ), 'detection': ('classes', 'max_per_image', 'score_threshold'),
          'keypoints': ('skeleton', ), 'features': ()}  # beside what every file has


@dataclass(frozen=True)
class Skeleton:
    """Names of the keypoints, pairs of them that a line joins, and the lines' colors (R, G, B) if the file has any."""
    names: tuple[str, ...]
    links: tuple[tuple[int, int], ...]
    colors: Optional[tuple[tuple[int, int, int], ...]] = None


@dataclass(frozen=True)
class Metadata:
    """The contract between the exporter and this package.

    Args:
        task: 'classification', 'detection', 'keypoints' or 'features'.
        arch: the network's name, if it has one.
        version: of the package that exported it.
        size: (H, W) of the input; None if any may come.
        batch: images at once; None if any number may come.
        color: 'rgb' or 'bgr', what the network takes.
        mean: of values 0 to 255, one for each channel as the network takes them.
        std: the same.
        inside: whether the graph itself subtracts the mean and divides by std.
        preprocess: how an image becomes the input; see :mod:`micronet_runtime.preprocess` and ``affine``.
        classes: names of the labels; empty for keypoints and features.
        skeleton: of keypoints only.
        person: a detector's label of people, if it knows them.
        max_per_image: boxes that a detector gives at most.
        score_threshold: above which a detector's boxes count.
        raw: whether the outputs are maps, which nothing here decodes.
        quantization: 'int8', of a plan also 'bfloat16', or None for a file of floats.
        madds: multiply-adds of one pass of the network, if the file has them.
        madds_size: (H, W) of the image that they are of.
    """
    task: str
    arch: Optional[str]
    version: str
    size: Optional[tuple[int, int]]
    batch: Optional[int]
    color: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    inside: bool
    preprocess: Any
    classes: tuple[str, ...] = ()
    skeleton: Optional[Skeleton] = None
    person: Optional[int] = None
    max_per_image: int = 100
    score_threshold: float = 0.0
    raw: bool = False
    quantization: Optional[str] = None
    madds: Optional[int] = None
    madds_size: Optional[tuple[int, int]] = None

    def describe(self) -> str:
        """Lines of text for people."""
        size = 'any' if self.size is None else f'{self.size[0]} x {self.size[1]}'
        means = ', '.join(f'{mean:g} / {std:g}' for mean, std in zip(self.mean, self.std))
        lines = {'task': f'{self.task}{" (raw maps)" if self.raw else ""}', 'arch': self.arch or 'a table of its own',
                 'exported by': f'micronet-mm {self.version}', 'input, H x W': size,
                 'images at once': 'any number' if self.batch is None else self.batch, 'color': self.color,
                 'mean / std': f'{means}, {"inside" if self.inside else "outside"} the graph',
                 'preprocess': json.dumps(self.preprocess)}
        if self.quantization:
            lines['quantization'] = self.quantization
        if self.madds is not None:
            lines['multiply-adds'] = f'{self.madds:,} at {self.madds_size[0]} x {self.madds_size[1]}'
        if self.classes:
            more = [f'and {len(self.classes) - MOST} more'] if len(self.classes) > MOST else []
            lines[f'{len(self.classes)} classes'] = ', '.join([*self.classes[:MOST], *more])
        if self.skeleton:
            lines[f'{len(self.skeleton.names)} keypoints'] = ', '.join(self.skeleton.names)
        if self.task == 'detection':
            people = 'none' if self.person is None else f'label {self.person}'
            lines |= {'people': people, 'boxes': f'at most {self.max_per_image}, scores above {self.score_threshold}'}
        width = max(map(len, lines))
        return '\n'.join(f'{name:{width}}  {value}' for name, value in lines.items())


def parse(text: Optional[str], path: str) -> Metadata:
    """The metadata of the file ``path``, whose JSON is ``text``.

    Raises:
        InputError: if there is none, it is of a later format, or it cannot be understood.
    """
    if text is None:
        raise InputError(f'{path} has no metadata of micronet_mm: another program wrote it, or dropped them; export '
                         'the model with tools/export.py.')
    try:
        given = json.loads(text)
        form = given['format']
        if form == FORMAT:
            return _parsed(given)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = f'{error} is missing' if isinstance(error, KeyError) else error
        raise InputError(f'the metadata of {path} cannot be understood ({reason}); export the model anew.') from None
    raise InputError(f'{path} has metadata of format {form}, and this micronet_runtime reads format {FORMAT}; install '
                     'the version that exported the file, or export it anew.')


def _parsed(given: dict) -> Metadata:
    source, task = given['input'], one_of(given['task'], tuple(NEEDED))
    missing = [key for key in NEEDED[task] if key not in given]
    if missing:
        raise ValueError(f'{", ".join(missing)} missing for {task}')
    check_preprocess(task, given.get('preprocess'))
    skeleton = given.get('skeleton')
    if skeleton:
        colors = skeleton.get('colors')
        skeleton = Skeleton(tuple(skeleton['names']), tuple((int(a), int(b)) for a, b in skeleton['links']),
                            tuple((int(r), int(g), int(b)) for r, g, b in colors) if colors else None)
    size = source['size']
    keys = ('person', 'max_per_image', 'score_threshold', 'raw', 'quantization')
    options = {key: given[key] for key in keys if key in given}
    if cost := given.get('madds'):
        height, width = cost['size']
        options |= {'madds': int(cost['number']), 'madds_size': (int(height), int(width))}
    return Metadata(
        task=task, arch=given.get('arch'), version=str(given.get('version')),
        size=None if size is None else (int(size[0]), int(size[1])), batch=source['batch'],
        color=one_of(source['color'], ('rgb', 'bgr')), mean=triple(source['mean']), std=triple(source['std']),
        inside=one_of(source['normalization'], ('inside', 'outside')) == 'inside', preprocess=given.get('preprocess'),
        classes=names_of(given.get('classes') or []), skeleton=skeleton or None, **options)


def names_of(given: Any) -> tuple[str, ...]:
    """Names of classes as text; a single text is no list of them."""
    if not isinstance(given, list):
        raise ValueError(f'classes is {shown(given)}')
    return tuple(map(str, given))


def check_preprocess(task: str, given: Any) -> None:
    """Raise unless it has the form of its task's; None is nothing to do, for features."""
    if task == 'features':
        return
    if not isinstance(given, list if task == 'classification' else dict):
        raise ValueError(f'preprocess is {shown(given)}')
    if task == 'detection':
        _, _ = given['scale']


def one_of(value: Any, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f'{shown(value)} is none of {", ".join(allowed)}')
    return value


def triple(values: Any) -> tuple[float, float, float]:
    first, second, third = values
    return float(first), float(second), float(third)
