"""Validation of arguments, shared by Python calls, configs and command lines.

A wrong value raises an error of one line with the argument's name, its value and the allowed values. This module
imports nothing else of the package, because every module uses it.
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
class Constraint:
    """A condition on a value. Calling it with a string converts the string, as a ``type`` of argparse.

    Attributes:
        words: description that follows "must be" in messages.
        holds: returns whether a value meets the condition.
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


def integer(least: int, most: Optional[int] = None) -> Constraint:
    """Accept integers of at least ``least``, and at most ``most``; reject booleans."""
    def holds(value: Any) -> bool:
        return INTEGER.holds(value) and value >= least and (most is None or value <= most)

    return Constraint(f'a whole number of at least {least}' if most is None
                      else f'a whole number from {least} to {most}', holds)


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def number(least: float, most: float) -> Constraint:
    """Accept numbers from ``least`` to ``most``; reject NaN."""
    return Constraint(f'a number from {least} to {most}', lambda value: is_number(value) and least <= value <= most)


def one_of(*allowed: Any) -> Constraint:
    """Accept only the given values."""
    *others, last = map(repr, allowed)
    return Constraint(f'{", ".join(others)} or {last}' if others else last,
                      lambda value: any(type(value) is type(each) and value == each for each in allowed))


def instance(kind: type, words: str) -> Constraint:
    """Accept instances of a class."""
    return Constraint(words, lambda value: isinstance(value, kind))


def optional(kind: Constraint, meaning: str = '') -> Constraint:
    """Accept None as well; ``meaning`` says what None means."""
    words = f'{kind.words}, or None for {meaning}' if meaning else f'{kind.words}, or None'
    return Constraint(words, lambda value: value is None or kind.holds(value))


def either(first: Constraint, second: Constraint) -> Constraint:
    """Accept what either constraint accepts."""
    return Constraint(f'{first.words}, or {second.words}', lambda value: first.holds(value) or second.holds(value))


def sequence_of(kind: Constraint, length: Optional[int] = None, least: int = 1) -> Constraint:
    """Accept lists or tuples of exactly ``length`` values, or of at least ``least`` values."""
    def holds(values: Any) -> bool:
        return (isinstance(values, Sequence) and not isinstance(values, str) and all(map(kind.holds, values))
                and (len(values) == length if length is not None else len(values) >= least))

    many = f'{length}' if length is not None else f'at least {least}' if least else 'any number'
    return Constraint(f'a list of {many}, each {kind.words}', holds)


INTEGER = Constraint('a whole number', lambda value: isinstance(value, Integral) and not isinstance(value, bool))
COUNT = integer(1)
ODD = Constraint('an odd whole number', lambda value: COUNT.holds(value) and value % 2 == 1)
NUMBER = Constraint('a number', is_number)
POSITIVE = Constraint('a number above 0', lambda value: is_number(value) and value > 0)
FRACTION = number(0, 1)
BOOL = Constraint('True or False', lambda value: isinstance(value, Integral) and value in (0, 1))  # 0 and 1 in tables
TEXT = instance(str, 'a text')
SETTINGS = instance(Mapping, 'a dict')
BUILT = Constraint("a dict with a 'type'", lambda value: isinstance(value, Mapping) and 'type' in value)
NORM = optional(BUILT, 'a bias')  # a norm_cfg
FILE = Constraint('the path of a file',
                  lambda value: isinstance(value, Path) or (isinstance(value, str) and value != ''))


def check(owner: str, kinds: Mapping[str, Constraint], given: Mapping[str, Any]) -> None:
    """Raise ValueError for the first argument that violates its constraint."""
    for name, value in given.items():
        if name in kinds and not kinds[name].holds(value):
            raise ValueError(f'{name}={shown(value)} of {owner} must be {kinds[name].words}.')


def checked(**kinds: Constraint) -> Callable[[Function], Function]:
    """Decorate a function or constructor so that it validates arguments by name before it runs.

    The function itself checks conditions between arguments. Raises ValueError.

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
            except TypeError:  # Python's own message names the function
                return function(*args, **kwargs)
            check(type(args[0]).__name__ if is_constructor else function.__name__, kinds, given)
            return function(*args, **kwargs)

        checking.kinds = kinds
        return checking

    return decorate


def constructors(kind: type) -> Iterator[Callable]:
    """Yield the constructors that the arguments of a class reach: each inherited one, while ``**kwargs`` pass on."""
    for base in kind.__mro__:
        if '__init__' in vars(base):
            yield base.__init__
            if all(each.kind is not each.VAR_KEYWORD for each in inspect.signature(base.__init__).parameters.values()):
                return


def check_settings(kind: type, given: Mapping[str, Any]) -> None:
    """Raise ValueError if a config gives a class an unknown argument or a wrong value."""
    reached = list(constructors(kind))
    names = [name for each in reached for name, parameter in inspect.signature(each).parameters.items()
             if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY) and name != 'self']
    unknown = [name for name in given if name not in names]
    takes_any = len(reached) > 1 and object.__init__ in reached  # a constructor stores arguments of any name
    if unknown and not takes_any:
        nearest = get_close_matches(unknown[0], names, n=1)
        meant = f'did you mean {nearest[0]}? It' if nearest else 'it'
        raise ValueError(f'{kind.__name__} takes no {unknown[0]}; {meant} takes '
                         f'{", ".join(dict.fromkeys(names)) or "nothing"}.')
    check(kind.__name__, {name: what for each in reversed(reached)
                          for name, what in getattr(each, 'kinds', {}).items()}, given)


@contextmanager
def building() -> Iterator[None]:
    """Raise ValueError for unknown names while something is built from a config.

    MMEngine raises KeyError for an unknown type. Python raises TypeError for an unknown or missing argument.
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
