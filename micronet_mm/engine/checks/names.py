"""Whether a config gives this package's classes what they take, before anything is built from it."""
from collections.abc import Iterator, Mapping
from typing import Any, Optional

from mmengine import registry
from mmengine.config import Config
from mmengine.registry import Registry

from micronet_mm.models.lazy_models import LAZY_MODELS, load_lazy_model
from micronet_mm.validation import check_settings

ROOTS = [each for each in vars(registry).values() if isinstance(each, Registry)]

RESERVED = ('type', '_scope_', '_delete_')  # MMEngine's, in any dict


def check_arguments(cfg: Config) -> None:
    """Raise for the first argument in a config that a class of this package does not take, or not with this value.

    What other packages' classes take they know themselves.

    Args:
        cfg: a full config, with names for classes.

    Raises:
        ValueError: one line that says where it stands, what was given and what is allowed.
    """
    for path, settings in typed(dict(cfg.items()), ''):
        kind = ours(settings['type'], settings.get('_scope_') or cfg.get('default_scope'))
        if kind is not None:
            given = {name: value for name, value in settings.items() if name not in RESERVED}
            try:
                check_settings(kind, given)
            except ValueError as error:
                raise ValueError(f'{path}: {error}') from None


def typed(node: Any, path: str) -> Iterator[tuple[str, Mapping]]:
    """Every dict of a config with a type, and where it stands, outermost first."""
    if isinstance(node, Mapping):
        if 'type' in node:
            yield path, node
        items = node.items()
    else:
        items = enumerate(node) if isinstance(node, (list, tuple)) else ()
    for key, child in items:
        yield from typed(child, f'{path}.{key}' if path else str(key))


def ours(name: Any, scope: Optional[str]) -> Optional[type]:
    """The class of this package that a config means by a name; None for all others."""
    for root in ROOTS:
        if isinstance(name, str) and is_ours(root.module_dict.get(name)):
            with root.switch_scope_and_registry(scope) as nearest:
                found = nearest.get(name)  # of two with that name the host's counts
            if is_ours(found):
                return load_lazy_model(name) if name in LAZY_MODELS else found
    return None


def is_ours(kind: Any) -> bool:
    return getattr(kind, '__module__', '').startswith('micronet_mm.')
