"""MMEngine's pure-Python configs, which contain classes instead of names."""
import sys
from collections.abc import Mapping
from importlib import import_module
from types import FunctionType
from typing import Any, Optional

import mmcv.ops
import mmengine.registry
from mmengine.config import Config
from mmengine.registry import Registry

from micronet_mm.models.lazy_models import LAZY_MODELS


def with_names(cfg: Config) -> Config:
    """Return the config with registered names instead of classes, so that later code only sees names.

    A text config is returned unchanged. A missing ``default_scope`` becomes the package of the model.

    Raises:
        ImportError: if the package of ``default_scope`` is not installed.
    """
    if not hasattr(cfg, '_imported_names'):
        return cfg
    # Without what the config imported; classes are imported when they are looked at, so all of them are here.
    settings = named({key: cfg[key] for key in cfg.to_dict()}, {})
    kind = (settings.get('model') or {}).get('type')
    if settings.get('default_scope') is None and isinstance(kind, type):
        settings['default_scope'] = kind.__module__.partition('.')[0]
    return Config(named(settings, registered_names(settings.get('default_scope'))), filename=cfg.filename)


def registered_names(scope: Optional[str]) -> dict[Any, str]:
    """Return the registered names of the classes and functions of a scope."""
    names = {operator: name for name, operator in vars(mmcv.ops).items() if isinstance(operator, (type, FunctionType))}
    for name, (module, _, _) in LAZY_MODELS.items():  # registered without being imported
        if module in sys.modules:
            names[getattr(sys.modules[module], name)] = name
    scoped = registries(import_module(f'{scope}.registry')) if scope and scope != 'mmengine' else []
    for registry in scoped:
        registry.import_from_location()
    for registry in [*registries(mmengine.registry), *scoped]:
        nearest = registry.children.get(scope, registry)  # a name that is in both means that one's
        names.update((kind, name) for name, kind in registry.module_dict.items() if nearest.get(name) is kind)
    return names


def registries(module: Any) -> list[Registry]:
    return [value for value in vars(module).values() if isinstance(value, Registry)]


def named(node: Any, names: Mapping[Any, str]) -> Any:
    """Return a setting with names instead of registered classes and functions."""
    if isinstance(node, Mapping):
        return {key: named(value, names) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return type(node)(named(value, names) for value in node)
    return names.get(node, node) if isinstance(node, (type, FunctionType)) else node
