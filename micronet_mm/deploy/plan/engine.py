"""Running plans inside PyTorch."""
import ctypes
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cache
from threading import Lock
from typing import Any, Optional

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from micronet_mm.ops.compiled import PLAN, BuildError, is_off, load
from micronet_mm.ops.watched import is_watched

from .compiling import compile_plan
from .recording import UnsupportedError

KEPT = 16  # plans of a network, one for every size of its input
Pointers = Sequence[Tensor]


@cache
def plan_library() -> ctypes.CDLL:
    """What runs plans.

    Raises:
        BuildError: if it cannot be compiled.
    """
    library = load(PLAN)
    library.micronet_plan_open.restype = ctypes.c_void_p
    library.micronet_plan_open.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p]
    library.micronet_plan_run.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_int64, ctypes.c_int]
    library.micronet_plan_time.argtypes = [ctypes.c_void_p] * 4
    library.micronet_plan_steps.argtypes = library.micronet_plan_close.argtypes = [ctypes.c_void_p]
    for name in ('input', 'output'):
        getattr(library, f'micronet_plan_{name}').argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    return library


def addresses(tensors: Pointers) -> ctypes.Array:
    return (ctypes.c_void_p * len(tensors))(*(tensor.data_ptr() for tensor in tensors))


class OpenPlan:
    """A plan in memory, ready to run.

    Args:
        content: of its file.

    Raises:
        ValueError: if it cannot be run; the message says why.
        BuildError: if what runs it cannot be compiled.
    """

    def __init__(self, content: bytes) -> None:
        self.library = plan_library()
        error = ctypes.create_string_buffer(256)
        self.handle = self.library.micronet_plan_open(content, len(content), error)
        if not self.handle:
            raise ValueError(f'this is no plan that can be run: {error.value.decode()}.')
        self.lock = Lock()
        self.inputs, self.outputs = (self.shapes(getattr(self.library, f'micronet_plan_{name}'))
                                     for name in ('input', 'output'))

    def shapes(self, ask: Callable) -> list[tuple[int, ...]]:
        found, shape = [], (ctypes.c_int64 * 3)()
        while ask(self.handle, len(found), shape):
            found.append(tuple(shape))
        return found

    def __call__(self, inputs: Sequence[Tensor], threads: int) -> list[Tensor]:
        """Outputs (N, C, H, W) of inputs (N, C, H, W)."""
        inputs = [tensor.contiguous() for tensor in inputs]
        outputs = [torch.empty(len(inputs[0]), *shape) for shape in self.outputs]
        with self.lock:
            self.library.micronet_plan_run(self.handle, addresses(inputs), addresses(outputs), len(inputs[0]), threads)
        return outputs

    @property
    def number(self) -> int:
        """Of steps."""
        return self.library.micronet_plan_steps(self.handle)

    def time(self, inputs: Sequence[Tensor]) -> list[float]:
        """Seconds that each step takes for one image on one thread."""
        outputs = [torch.empty(1, *shape) for shape in self.outputs]
        seconds = (ctypes.c_double * self.number)()
        with self.lock:
            self.library.micronet_plan_time(self.handle, addresses(inputs), addresses(outputs), seconds)
        return list(seconds)

    def __del__(self) -> None:
        if getattr(self, 'handle', None):
            self.library.micronet_plan_close(self.handle)


class NativeForward:
    """The forward pass of a network in deploy form, by plans where that can be.

    A plan is for float32 on the CPU, for inference, and for one size of the input; it is made when such an input comes
    for the first time. For everything else the network's own forward pass runs. Where there is no code for the network,
    or none can be compiled, one warning says so.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        self.reason: Optional[str] = None
        self.plans: OrderedDict = OrderedDict()

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = None if self.reason or kwargs else self.native(args)
        return type(self.network).forward(self.network, *args, **kwargs) if found is None else found[0]

    def native(self, args: tuple) -> Optional[tuple[Any]]:
        """The output, in a tuple; None where the network's own forward pass has to run."""
        inputs, _ = tree_flatten(args)
        if not inputs or not all(isinstance(x, Tensor) and x.dim() == 4 and x.dtype == torch.float32 and len(x)
                                 and x.device.type == 'cpu' for x in inputs):
            return None
        if torch.jit.is_tracing() or torch.is_autocast_enabled('cpu') or is_watched(*inputs) or (
                torch.is_grad_enabled() and any(p.requires_grad for p in (*inputs, *self.network.parameters()))):
            return None
        key = tuple(tuple(x.shape[1:]) for x in inputs)
        if key not in self.plans:
            try:
                self.plans[key] = self.compiled(args, inputs)
            except (UnsupportedError, BuildError, OSError) as error:
                what = 'there is no native code for ' if isinstance(error, UnsupportedError) else ''
                self.reason = f'{type(self.network).__name__} runs in PyTorch: {what}{error}'
                warnings.warn(self.reason, stacklevel=2)
                return None
            if len(self.plans) > KEPT:
                self.plans.popitem(last=False)
        self.plans.move_to_end(key)
        plan, structure, dims = self.plans[key]
        outputs = plan(inputs, torch.get_num_threads())
        return (tree_unflatten([y.flatten(1) if dim == 2 else y for y, dim in zip(outputs, dims)], structure), )

    def compiled(self, args: tuple, inputs: Sequence[Tensor]) -> tuple[OpenPlan, Any, list[int]]:
        """A plan for inputs of these sizes, and what its outputs are to be put into."""
        own = self.network.__dict__.pop('forward')
        try:
            with torch.no_grad():
                outputs, structure = tree_flatten(self.network(*args))
            _, spec = tree_flatten(args)
            wrapped = Flattened(self.network, spec)
            content = compile_plan(wrapped, inputs).content()
        finally:
            self.network.__dict__['forward'] = own
        return OpenPlan(content), structure, [output.dim() for output in outputs]

    def __deepcopy__(self, memo: dict) -> 'NativeForward':
        copied = memo.get(id(self.network))
        return NativeForward(self.network if copied is None else copied)

    def __getstate__(self) -> dict:
        return dict(network=self.network, reason=None, plans=OrderedDict())


class Flattened(nn.Module):
    """A network as a function of tensors alone."""

    def __init__(self, network: nn.Module, spec: Any) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, *tensors: Tensor) -> Any:
        return self.network(*tree_unflatten(list(tensors), self.spec))


def run_natively(network: nn.Module) -> None:
    """Have plans run the forward pass of a network in deploy form, in place."""
    if not is_off():
        network.forward = NativeForward(network)
        network.register_load_state_dict_post_hook(forget)


def forget(network: nn.Module, _: Any) -> None:
    """Plans have weights in them."""
    if isinstance(network.__dict__.get('forward'), NativeForward):
        network.forward.plans.clear()
