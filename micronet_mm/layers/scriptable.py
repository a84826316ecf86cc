"""Base class of layers that TorchScript can compile."""
from mmengine.model import BaseModule


class ScriptableModule(BaseModule):
    """MMEngine's BaseModule without the property that ``torch.jit.script`` cannot compile."""
    __jit_unused_properties__ = ('is_init', )
