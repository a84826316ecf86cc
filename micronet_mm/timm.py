"""timm knows MicroNet by name once this module is imported: ``timm.create_model('micronet_m3')``.

What timm's ``create_model`` takes it takes: ``features_only``, ``out_indices``, ``checkpoint_path``,
``pretrained_cfg_overlay``, and as ``pretrained`` the path of a checkpoint.
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

from micronet_mm.hub.create import arch_of, check_pretrained, default_cfg, list_models
from micronet_mm.hub.network import TimmMicroNet
from micronet_mm.hub.pretrained import fitting_tensors, load_pretrained

__all__: list[str] = []  # timm appends the names
default_cfgs = generate_default_cfgs({name: default_cfg(name) for name in list_models()})


def entry_point(name: str) -> Callable[..., nn.Module]:
    """The function that timm calls to build the network of this name."""

    def create(pretrained: Union[bool, str, Path] = False, **kwargs: Any) -> nn.Module:
        path = pretrained if isinstance(pretrained, (str, Path)) else None
        cfg = resolve_cfg(name, kwargs.get('pretrained_cfg'), kwargs.get('pretrained_cfg_overlay'))
        if not (cfg.has_weights or cfg.state_dict):
            check_pretrained(pretrained)

        def build(**options: Any) -> nn.Module:
            model = TimmMicroNet(arch_of(name), **options)
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
