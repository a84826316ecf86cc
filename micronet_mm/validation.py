"""What arguments may be, said once for calls from Python, for configs and for command lines.

A value of another kind is answered in one line that names the argument, what was given and what is allowed. Nothing of
this package is imported here, since all of it takes arguments.
"""
import argparse
import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import wraps
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Optional, TypeVar

from micronet_runtime.shown import shown

Function = TypeVar('Function', bound=Callable)


@dataclass(frozen=True)
class Kind:
    """A kind of values. Called with a text, it is a ``type`` of argparse.

    Attributes:
        words: which these are, as they follow on "must be".
        holds: whether a value is one of them.
    """
    words: str
    holds: Callable[[Any], bool]

    def __call__(self, text: str) -> Any:
        for read in (int, float):
            try:
                value = read(text)
                break
            except ValueError:
                value = text
        if not self.holds(value):
            raise argparse.ArgumentTypeError(f'{shown(text)} must be {self.words}')
        return value


def whole(least: int, most: Optional[int] = None) -> Kind:
    """Whole numbers from ``least`` on, or to ``most``; True and False are none."""
    def holds(value: Any) -> bool:
        return INTEGER.holds(value) and value >= least and (most is None or value <= most)

    return Kind(f'a whole number of at least {least}' if most is None else f'a whole number from {least} to {most}',
                holds)


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def number(least: float, most: float) -> Kind:
    """Numbers from ``least`` to ``most``; NaN is none."""
    return Kind(f'a number from {least} to {most}', lambda value: is_number(value) and least <= value <= most)


def one_of(*allowed: Any) -> Kind:
    """These values alone."""
    *others, last = map(repr, allowed)
    return Kind(f'{", ".join(others)} or {last}' if others else last,
                lambda value: any(type(value) is type(each) and value == each for each in allowed))


def instance(kind: type, words: str) -> Kind:
    """What is an instance of a class."""
    return Kind(words, lambda value: isinstance(value, kind))


def optional(kind: Kind, meaning: str = '') -> Kind:
    """Values of a kind, or None, which means what is said."""
    words = f'{kind.words}, or None for {meaning}' if meaning else f'{kind.words}, or None'
    return Kind(words, lambda value: value is None or kind.holds(value))


def either(first: Kind, second: Kind) -> Kind:
    """Values of two kinds."""
    return Kind(f'{first.words}, or {second.words}', lambda value: first.holds(value) or second.holds(value))


def several(kind: Kind, length: Optional[int] = None, least: int = 1) -> Kind:
    """Lists or tuples of values of a kind: as many as ``length`` says, or ``least`` and more."""
    def holds(values: Any) -> bool:
        return (isinstance(values, Sequence) and not isinstance(values, str) and all(map(kind.holds, values))
                and (len(values) == length if length is not None else len(values) >= least))

    many = f'{length}' if length is not None else f'at least {least}' if least else 'any number'
    return Kind(f'a list of {many}, each {kind.words}', holds)


INTEGER = Kind('a whole number', lambda value: isinstance(value, Integral) and not isinstance(value, bool))
COUNT = whole(1)
ODD = Kind('an odd whole number', lambda value: COUNT.holds(value) and value % 2 == 1)
NUMBER = Kind('a number', is_number)
POSITIVE = Kind('a number above 0', lambda value: is_number(value) and value > 0)
SHARE = number(0, 1)
FLAG = Kind('True or False', lambda value: isinstance(value, Integral) and value in (0, 1))  # tables write 0 and 1
TEXT = instance(str, 'a text')
SETTINGS = instance(Mapping, 'a dict')
BUILT = Kind("a dict with a 'type'", lambda value: isinstance(value, Mapping) and 'type' in value)
NORM = optional(BUILT, 'a bias')  # a norm_cfg
FILE = Kind('the path of a file', lambda value: isinstance(value, Path) or (isinstance(value, str) and value != ''))


def check(owner: str, kinds: Mapping[str, Kind], given: Mapping[str, Any]) -> None:
    """Raise ValueError for the first argument that is not of its kind; those without one are left alone."""
    for name, value in given.items():
        if name in kinds and not kinds[name].holds(value):
            raise ValueError(f'{name}={shown(value)} of {owner} must be {kinds[name].words}.')


def checked(**kinds: Kind) -> Callable[[Function], Function]:
    """Have a function or a constructor check its arguments, by name, before it begins.

    What arguments must be to each other, and what only the function can know, it checks itself. Raises ValueError.

    Example:
        >>> @checked(size=COUNT)
        ... def halve(size):
        ...     return size // 2
        >>> halve(0)
        Traceback (most recent call last):
        ValueError: size=0 of halve must be a whole number of at least 1.
    """
    def decorate(function: Function) -> Function:
        signature = inspect.signature(function)
        assert kinds.keys() <= signature.parameters.keys()
        is_constructor = function.__name__ == '__init__'

        @wraps(function)
        def checking(*args: Any, **kwargs: Any) -> Any:
            try:
                given = signature.bind(*args, **kwargs).arguments
            except TypeError:  # what Python itself says of it names the function
                return function(*args, **kwargs)
            check(type(args[0]).__name__ if is_constructor else function.__name__, kinds, given)
            return function(*args, **kwargs)

        checking.kinds = kinds
        return checking

    return decorate


def constructors(kind: type) -> Iterator[Callable]:
    """Those that the arguments of a class reach: its own, and while they take any name, the next that it inherits."""
    for base in kind.__mro__:
        if '__init__' in vars(base):
            yield base.__init__
            if all(each.kind is not each.VAR_KEYWORD for each in inspect.signature(base.__init__).parameters.values()):
                return


def check_settings(kind: type, given: Mapping[str, Any]) -> None:
    """Raise ValueError if a config gives a class an argument that it does not take, or one that is not of its kind."""
    reached = list(constructors(kind))
    names = [name for each in reached for name, parameter in inspect.signature(each).parameters.items()
             if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name != 'self']
    unknown = [name for name in given if name not in names]
    takes_any = len(reached) > 1 and object.__init__ in reached  # behind a constructor that keeps what has any name
    if unknown and not takes_any:
        nearest = get_close_matches(unknown[0], names, n=1)
        meant = f'did you mean {nearest[0]}? It' if nearest else 'it'
        raise ValueError(f'{kind.__name__} takes no {unknown[0]}; {meant} takes '
                         f'{", ".join(dict.fromkeys(names)) or "nothing"}.')
    check(kind.__name__, {name: what for each in reversed(reached)
                          for name, what in getattr(each, 'kinds', {}).items()}, given)


@contextmanager
def building() -> Iterator[None]:
    """Where something is built from a config: raise ValueError for a name that nobody knows.

    MMEngine raises KeyError for an unknown type, and Python TypeError for an unknown argument or one that is missing.
    """
    try:
        yield
    except KeyError as error:
        found = re.match(r'(\S+) is not in the (\S+) registry', str(error.args[0]) if error.args else '')
        if found is None:
            raise
        raise ValueError(f'type={shown(found[1])} of the config is not in the registry {found[2]}; correct it, or '
                         'name the module that registers it in custom_imports.') from None
    except TypeError as error:
        if not re.search(r'__init__\(\) (got an unexpected keyword argument|missing \d+ required)', str(error)):
            raise
        raise ValueError(f'the config does not fit: {error}.') from None
