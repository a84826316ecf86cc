"""The configs that come with the package, found by name: by people, and by MMEngine as ``_base_`` of other configs.

A wheel holds them in ``.mim``, where MMLab's packages have theirs; a checkout has them beside the package. Nothing of
this package or of MMEngine is imported here, since micronet_mm_autoload.py loads this file by itself.
"""
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Optional

PACKAGE = Path(__file__).resolve().parent
PREFIX = 'micronet_mm::'


def shipped(name: str) -> Path:
    """Where a folder or file that comes with the package is: 'configs', 'tools', 'model-index.yml'."""
    packed = PACKAGE / '.mim' / name
    return packed if packed.exists() else PACKAGE.parent / name


def config_names() -> list[str]:
    """The full configs: paths below ``configs/``, without ``.py``."""
    root = shipped('configs')
    found = (file.relative_to(root).with_suffix('') for file in root.rglob('*.py'))
    return sorted(path.as_posix() for path in found if path.parts[0] != '_base_')


def nearest(name: str) -> str:
    """The three names of configs that are most like ``name``, in words."""
    by_stem = {Path(known).name: known for known in config_names()}
    return ', '.join(by_stem[stem] for stem in get_close_matches(Path(name).stem, by_stem, n=3, cutoff=0))


def packaged_config(name: str) -> Path:
    """The file of a config that comes with the package.

    Args:
        name: its path below ``configs/``, with or without ``micronet_mm::`` before and ``.py`` behind it.

    Raises:
        FileNotFoundError: one line with the nearest names if there is none.
    """
    inside = name.removeprefix(PREFIX).removesuffix('.py')
    path = shipped('configs') / f'{inside}.py'
    if not path.is_file():
        raise FileNotFoundError(f'micronet_mm has no config {inside}; the nearest are {nearest(inside)}.')
    return path


def find_config(given: str) -> Path:
    """The file that a user means: a path, ``micronet_mm::NAME.py``, or the NAME of a config of the package.

    Raises:
        FileNotFoundError: one line with the nearest names if there is none.
    """
    given = str(given)
    if Path(given).is_file():
        return Path(given)
    if given.startswith(PREFIX):
        return packaged_config(given)
    if given in config_names():
        return packaged_config(given)
    raise FileNotFoundError(f'the config {given} does not exist; name a file, or one that comes with the package, such '
                            f'as {nearest(given)}.')


def patch_config(module: ModuleType) -> None:
    """Have ``mmengine.config.config`` find ``_base_ = 'micronet_mm::NAME.py'``.

    MMEngine knows only MMLab's packages, expects a folder before the name, and takes the package as the scope of its
    modules; our configs have the scope of mmdet, mmpose or mmpretrain.
    """
    path_of_base = module.Config._get_cfg_path

    def get_cfg_path(cfg_path: str, filename: str) -> tuple[str, Optional[str]]:
        if cfg_path.startswith(PREFIX):
            return str(packaged_config(cfg_path)), None
        return path_of_base(cfg_path, filename)

    module.Config._get_cfg_path = staticmethod(get_cfg_path)


def patch_get_config(module: ModuleType) -> None:
    """Have ``mmengine.hub.get_config`` find 'micronet_mm::NAME.py'."""
    get_config = module.get_config

    def get_config_of_ours_too(cfg_path: str, pretrained: bool = False) -> object:
        if not cfg_path.startswith(PREFIX):
            return get_config(cfg_path, pretrained)
        path = packaged_config(cfg_path)
        cfg = module.Config.fromfile(path)
        if pretrained:
            from micronet_mm.checkpoint.bundled import SCHEME, bundled_weights
            config = path.relative_to(shipped('configs')).as_posix()
            name = next((row.name for row in bundled_weights().values() if row.config == config), None)
            if name is None:
                raise ValueError(f'{cfg_path} has no bundled weights.')
            cfg.model_path = SCHEME + name
        return cfg

    module.get_config = get_config_of_ours_too


def patch_model_hub(module: ModuleType) -> None:
    """Have mmpretrain's ``get_model`` and ``list_models`` know the names of ``micronet_mm.create_model``."""
    models = [dict(Name=name.removeprefix('imagenet_'), Config=str(packaged_config(name)),
                   Results=[dict(Task='Image Classification', Dataset='ImageNet-1k')])
              for name in config_names() if name.startswith('imagenet_micronet_')]
    with suppress(OSError), tempfile.TemporaryDirectory() as folder:  # the hub reads nothing but files
        index = Path(folder) / 'model-index.yml'
        index.write_text(json.dumps(dict(Models=models)))  # which YAML is
        module.ModelHub.register_model_index(index)


# What is taught to which module, and the name that is there when it is complete.
PATCHES: dict[str, tuple[Callable[[ModuleType], None], str]] = {
    'mmengine.config.config': (patch_config, 'Config'),
    'mmengine.hub.hub': (patch_get_config, 'get_config'),
    'mmpretrain.apis.model': (patch_model_hub, 'list_models'),
}


def teach(module: ModuleType) -> None:
    """Teach a module, once, if it is complete."""
    lesson, last = PATCHES[module.__name__]
    if hasattr(module, last) and not hasattr(module, '_knows_micronet_mm'):
        lesson(module)
        module._knows_micronet_mm = True


class PatchFinder(MetaPathFinder):
    """Finds MMLab's modules as ever, and teaches them when they are loaded."""

    def find_spec(self, fullname: str, path: Optional[Sequence[str]] = None,
                  target: Optional[ModuleType] = None) -> Optional[ModuleSpec]:
        spec = PathFinder.find_spec(fullname, path) if fullname in PATCHES else None
        if spec is not None:
            load = spec.loader.exec_module

            def load_and_patch(module: ModuleType) -> None:
                load(module)
                teach(module)

            spec.loader.exec_module = load_and_patch
        return spec


def patch_mmengine() -> None:
    """Called when ``micronet_mm`` is imported, or PyTorch, by micronet_mm_autoload.py; nothing of MMLab is imported."""
    # This module may be there under two names.
    if not any(type(finder).__name__ == PatchFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, PatchFinder())
    for name in PATCHES:
        if name in sys.modules:
            teach(sys.modules[name])
