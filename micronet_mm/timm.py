"""timm knows MicroNet by name once this module is imported: ``timm.create_model('micronet_m3')``.

What timm's ``create_model`` takes it takes: ``features_only``, ``out_indices``, ``checkpoint_path``,
``pretrained_cfg_overlay``, and as ``pretrained`` the path of a checkpoint. Bundled weights have tags:
``timm.create_model('micronet_m0.tiny_imagenet', pretrained=True)``.
"""
from collections.abc import Callable
from pathlib import Path
from typing import Any, Union

try:
    from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
    from timm.models import resolve_pretrained_cfg as resolve_cfg
except ModuleNotFoundError as error:
    if not error.name or error.name.partition('.')[0] != 'timm':
        raise
    raise ModuleNotFoundError("micronet_mm.timm registers MicroNet with timm, which is not installed: pip install "
                              "'micronet-mm[timm]'; micronet_mm.create_model does without.", name='timm') from None
from torch import nn

from micronet_mm.checkpoint.bundled import SCHEME
from micronet_mm.hub.create import (
    PREFIX,
    check_pretrained,
    default_cfg,
    default_weights,
    list_models,
    list_pretrained,
)
from micronet_mm.hub.network import TimmMicroNet
from micronet_mm.hub.pretrained import fitting_tensors, load_pretrained

__all__: list[str] = []  # timm appends the names
# timm makes the tag with a star the default: without pretrained=True a model has ImageNet's classes.
default_cfgs = generate_default_cfgs({name: default_cfg(name) for name in list_pretrained()}
                                     | {f'{name}.*': default_cfg(name) for name in list_models()})


def entry_point(name: str) -> Callable[..., nn.Module]:
    """Return the function that timm calls to build the network of this name."""

    def create(pretrained: Union[bool, str, Path] = False, **kwargs: Any) -> nn.Module:
        check_pretrained(pretrained)
        path = pretrained if isinstance(pretrained, (str, Path)) else None
        cfg = resolve_cfg(name, kwargs.get('pretrained_cfg'), kwargs.get('pretrained_cfg_overlay'))
        if pretrained is True and not (cfg.has_weights or cfg.state_dict):
            kwargs['pretrained_cfg'] = default_weights(name).partition('.')[2]
            cfg = resolve_cfg(name, kwargs['pretrained_cfg'], kwargs.get('pretrained_cfg_overlay'))
        bundled = f'{name}.{cfg.tag}'
        if pretrained is True and bundled in list_pretrained() and cfg.file == default_cfg(bundled)['file']:
            path = SCHEME + bundled  # read by this package, which checks the file's SHA-256

        def build(**options: Any) -> nn.Module:
            model = TimmMicroNet(name.removeprefix(PREFIX), **options)
            if path:
                load_pretrained(model, path)
            return model

        return build_model_with_cfg(build, name, bool(pretrained) and not path, feature_cfg=dict(feature_cls='getter'),
                                    pretrained_filter_fn=fitting_tensors, **kwargs)

    create.__name__ = create.__qualname__ = name
    create.__doc__ = f'{name}, as :class:`~micronet_mm.hub.network.TimmMicroNet`.'
    return create


for _name in list_models():
    globals()[_name] = register_model(entry_point(_name))
