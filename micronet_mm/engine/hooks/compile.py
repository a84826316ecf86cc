"""``torch.compile`` for the parts of a model that it serves."""
from collections.abc import Sequence
from typing import Any

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.registry import HOOKS
from mmengine.runner import Runner

from micronet_mm.validation import TEXT, checked, either, sequence_of


@HOOKS.register_module()
class CompileHook(Hook):
    """Compile submodules in place before training; checkpoints keep their names.

    MMEngine's own switch, ``compile=True``, compiles the whole training step. A detector's step is mostly target
    assignment in Python, with sizes that change with each batch. Compiling it gains nothing and is repeated often.

    Args:
        modules: names of submodules of the model.
        **options: of ``torch.compile``, for example ``mode='max-autotune'``.

    Raises:
        ValueError: when the run starts, if the model has no such submodule.

    Example:
        >>> custom_hooks = [dict(type='CompileHook', modules=['backbone', 'neck'])]
    """

    @checked(modules=either(TEXT, sequence_of(TEXT)))
    def __init__(self, modules: Sequence[str] = ('backbone', ), **options: Any) -> None:
        self.modules = [modules] if isinstance(modules, str) else list(modules)
        self.options = options

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        for name in self.modules:
            try:
                module = model.get_submodule(name)
            except AttributeError:
                parts = ', '.join(name for name, _ in model.named_children())
                raise ValueError(f'CompileHook cannot find {name!r} in the model, which has {parts}.') from None
            module.compile(**self.options)
