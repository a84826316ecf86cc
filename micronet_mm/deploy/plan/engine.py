"""Running plans inside PyTorch."""
import ctypes
import os
import warnings
from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from copy import copy
from functools import cache
from inspect import signature
from itertools import chain
from threading import Lock, RLock
from typing import Any, Optional
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.nn.modules import module as of_all
from torch.nn.modules.dropout import _DropoutNd
from torch.utils._pytree import tree_flatten, tree_unflatten

from micronet_mm.ops.compiled import PLAN, BuildError, is_off, load
from micronet_mm.ops.dispatch import must_use_reference
from micronet_mm.validation import checked, instance

from .compiling import compile_plan
from .recording import UnsupportedError

KEPT = 16  # plans of a network, one for every size of its input
WORTH_A_PLAN = 4  # times that a size has to come to take the place of another one


LOCKED: WeakSet = WeakSet()


def unlock_in_child() -> None:
    """A thread that another process had at the fork will not open its lock here."""
    for each in LOCKED:
        each.lock = RLock() if isinstance(each, NativeForward) else Lock()


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=unlock_in_child)


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
    library.micronet_words_equal.argtypes = [ctypes.c_void_p] * 2 + [ctypes.c_int64]
    library.micronet_plan_time.argtypes = [ctypes.c_void_p] * 4
    library.micronet_plan_steps.argtypes = library.micronet_plan_close.argtypes = [ctypes.c_void_p]
    for name in ('input', 'output'):
        getattr(library, f'micronet_plan_{name}').argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p]
    return library


def addresses(tensors: Sequence[Tensor]) -> ctypes.Array:
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
        LOCKED.add(self)
        self.inputs, self.outputs = (self.shapes(getattr(self.library, f'micronet_plan_{name}'))
                                     for name in ('input', 'output'))

    def shapes(self, ask: Callable) -> list[tuple[int, ...]]:
        found, shape = [], (ctypes.c_int64 * 3)()
        while ask(self.handle, len(found), shape):
            found.append(tuple(shape))
        return found

    def __call__(self, inputs: Sequence[Tensor], threads: int) -> list[Tensor]:
        """Outputs (N, C, H, W) of inputs (N, C, H, W), float32 on the CPU.

        Raises:
            ValueError: if the inputs are not those that the plan is for.
        """
        shapes = [tuple(tensor.shape[1:]) for tensor in inputs]
        if shapes != self.inputs or len({len(tensor) for tensor in inputs}) > 1:
            raise ValueError(f'this plan takes as many inputs of each of the shapes {self.inputs}, not of {shapes}.')
        inputs = [tensor.contiguous() for tensor in inputs]
        outputs = [self.empty(len(inputs[0]), shape) for shape in self.outputs]
        with self.lock:
            self.library.micronet_plan_run(self.handle, addresses(inputs), addresses(outputs), len(inputs[0]), threads)
        return outputs

    @staticmethod
    def empty(batch: int, shape: tuple[int, ...]) -> Tensor:
        """Of the type and where the library writes, whatever PyTorch's defaults are."""
        return torch.empty(batch, *shape, dtype=torch.float32, device='cpu')

    @property
    def number(self) -> int:
        """Of steps."""
        return self.library.micronet_plan_steps(self.handle)

    def time(self, inputs: Sequence[Tensor]) -> list[float]:
        """Seconds that each step takes for one image on one thread."""
        outputs = [self.empty(1, shape) for shape in self.outputs]
        seconds = (ctypes.c_double * self.number)()
        with self.lock:
            self.library.micronet_plan_time(self.handle, addresses(inputs), addresses(outputs), seconds)
        return list(seconds)

    def __reduce__(self) -> tuple:
        raise TypeError('an open plan belongs to one object and one process, and cannot be copied or pickled; copy the '
                        'network, or open its file anew.')

    def __del__(self) -> None:
        handle, self.handle = getattr(self, 'handle', None), None
        if handle:
            self.library.micronet_plan_close(handle)


class NativeForward:
    """The forward pass of a network in deploy form, by plans where that can be.

    A plan is for float32 on the CPU, for inference, and for one size of the input; it is made when such an input comes
    for the first time. For everything else the network's own forward pass runs. Where there is no code for the network,
    or none can be compiled, one warning says so.
    """

    def __init__(self, network: nn.Module, weights: str = 'float32') -> None:
        self.network, self.weights = network, weights
        self.reason: Optional[str] = None
        self.explained: set[str] = set()
        self.plans: OrderedDict = OrderedDict()
        self.rare: Counter = Counter()  # how often sizes came that have no plan
        self.lock = RLock()
        LOCKED.add(self)
        self.built_from: Optional[Parts] = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        found = None if kwargs else self.native(args)
        return type(self.network).forward(self.network, *args, **kwargs) if found is None else found[0]

    def __getattr__(self, name: str) -> Any:
        """What tracers and compilers ask a method for is that of the network's own."""
        method = type(self.network).forward.__get__(self.network)
        return signature(method) if name == '__signature__' else getattr(method, name)

    def native(self, args: tuple) -> Optional[tuple[Any]]:
        """The output, in a tuple; None where the network's own forward pass has to run."""
        if torch.compiler.is_compiling() or torch.jit.is_tracing():
            return None
        inputs, _ = tree_flatten(args)
        if not inputs or not all(isinstance(x, Tensor) and x.dim() == 4 and x.numel() and len(x) == len(inputs[0])
                                 for x in inputs):
            return None
        if not all(x.dtype == torch.float32 and x.device.type == 'cpu' for x in inputs):
            return self.explain('inputs must be float32 on the CPU')
        if torch.is_autocast_enabled('cpu'):
            return self.explain('autocast is on; leave it out, native code computes in float32')
        if must_use_reference(*inputs):
            return None
        if torch.is_grad_enabled() and any(p.requires_grad for p in (*inputs, *self.network.parameters())):
            return self.explain('gradients are asked for; call the network within torch.no_grad()')
        key = tuple(tuple(x.shape[1:]) for x in inputs)
        with self.lock:
            found = self.plan(key, args, inputs)
        if found is None:
            return None
        plan, structure, dims = found
        outputs = plan(inputs, torch.get_num_threads())
        return (tree_unflatten([y.flatten(1) if dim == 2 else y for y, dim in zip(outputs, dims)], structure), )

    def explain(self, reason: str) -> None:
        """Warn, once for each reason, that the slower form is run; nobody would see that from the outputs."""
        if reason not in self.explained:
            self.explained.add(reason)
            warnings.warn(f'native code of {type(self.network).__name__} is not used: {reason}.', stacklevel=5)

    def plan(self, key: Any, args: tuple, inputs: Sequence[Tensor]) -> Optional[tuple[OpenPlan, Any, list[int]]]:
        """The plan for inputs of these sizes; None where the network's own forward pass has to run."""
        if self.built_from is None or self.built_from.have_changed():
            self.forget()
            self.built_from = Parts(self.network)
        if self.reason or self.built_from.are_watched():
            return None
        if key not in self.plans:
            if len(self.plans) == KEPT and self.is_rare(key):
                return self.explain(f'it has plans for {KEPT} sizes of input, and making one takes longer than '
                                    'PyTorch; pad or resize inputs to fewer sizes')
            network = bare(self.network)
            with torch.no_grad():
                outputs, structure = tree_flatten(network(*args))
            try:
                content = compile_plan(Flattened(network, tree_flatten(args)[1]), inputs,
                                       self.weights).content()
                self.built_from.library = plan_library()
                self.plans[key] = OpenPlan(content), structure, [output.dim() for output in outputs]
            except (ValueError, BuildError, OSError) as error:
                what = 'there is no native code for ' if isinstance(error, UnsupportedError) else ''
                self.reason = f'{type(self.network).__name__} runs in PyTorch: {what}{error}'
                warnings.warn(self.reason, stacklevel=4)
                return None
            if len(self.plans) > KEPT:
                self.plans.popitem(last=False)
        self.plans.move_to_end(key)
        return self.plans[key]

    def is_rare(self, key: Any) -> bool:
        """Whether a size without a plan has come fewer than :data:`WORTH_A_PLAN` times."""
        self.rare[key] += 1
        return self.rare[key] < WORTH_A_PLAN or not self.rare.pop(key)

    def forget(self) -> None:
        """Plans have weights in them."""
        self.plans.clear()
        self.rare.clear()
        self.built_from = self.reason = None

    def __deepcopy__(self, memo: dict) -> 'NativeForward':
        copied = memo.get(id(self.network))
        return NativeForward(self.network if copied is None else copied, self.weights)

    def __reduce__(self) -> tuple:
        return NativeForward, (nn.Identity(), self.weights), dict(network=self.network)


class Parts:
    """What plans of a network are made from, so that a call sees in no time whether that has changed.

    Seen are other modules, parameters and buffers, other memory of theirs, what PyTorch keeps account of as a write,
    and, as ``.data`` has no such account, other values at three places of each tensor. A write through ``.data`` to a
    few values, and attributes such as a stride, are not: see :func:`refresh_plans`.

    Args:
        network: in deploy form.
    """

    def __init__(self, network: nn.Module) -> None:
        modules = list(network.modules())
        self.inner = [module.__dict__ for module in modules if module is not network]
        self.tables = [table.values() for module in modules
                       for table in (module._modules, module._parameters, module._buffers) if table]
        self.held = [*chain.from_iterable(self.tables)]
        self.tensors = [tensor for tensor in (*network.parameters(), *network.buffers()) if tensor.device.type == 'cpu']
        self.places = [tensor.data_ptr() for tensor in self.tensors]
        self.counted = [tensor for tensor in self.tensors if not tensor.is_inference()]
        self.version = sum([tensor._version for tensor in self.counted])
        words = [place + 4 * word for tensor, place in zip(self.tensors, self.places) for word in sampled(tensor)]
        self.words = (ctypes.c_void_p * len(words))(*words)
        self.values = (ctypes.c_uint32 * len(words))(*(ctypes.c_uint32.from_address(word).value for word in words))
        self.library = None  # until there is a plan
        self.hooks = [hooks for module in modules[1:] for hooks in (module._forward_hooks, module._forward_pre_hooks)]
        self.hooks += [of_all._global_forward_hooks, of_all._global_forward_pre_hooks]
        self.dropouts = [module for module in modules[1:] if isinstance(module, _DropoutNd)]

    def have_changed(self) -> bool:
        # In this order: only where tensors are in the same memory as before may it be read.
        return not (self.holds_the_same() and [tensor.data_ptr() for tensor in self.tensors] == self.places
                    and sum([tensor._version for tensor in self.counted]) == self.version
                    and (self.library is None
                         or self.library.micronet_words_equal(self.words, self.values, len(self.words))))

    def holds_the_same(self) -> bool:
        try:
            return [*chain.from_iterable(self.tables)] == self.held  # which looks at identity first
        except RuntimeError:  # two tensors were compared
            return False

    def are_watched(self) -> bool:
        """Whether somebody looks at what goes on inside, or it goes another way in training."""
        return (any('forward' in module for module in self.inner) or any(self.hooks)
                or any(module.training for module in self.dropouts))


def sampled(tensor: Tensor) -> set[int]:
    """Which 4 bytes of a tensor are compared: the first, those in the middle, and the last."""
    words = tensor.numel() * tensor.element_size() // 4 if tensor.is_contiguous() else 0
    return {0, words // 2, words - 1} if words else set()


def bare(network: nn.Module) -> nn.Module:
    """A network with the same layers whose call is but that of its class: no plan, and nobody who counts calls."""
    other = copy(network)
    other.__dict__.pop('forward', None)
    other._forward_hooks, other._forward_pre_hooks = OrderedDict(), OrderedDict()
    return other


class Flattened(nn.Module):
    """A network as a function of tensors alone."""

    def __init__(self, network: nn.Module, spec: Any) -> None:
        super().__init__()
        self.network, self.spec = network, spec

    def forward(self, *tensors: Tensor) -> Any:
        return self.network(*tree_unflatten(list(tensors), self.spec))


def run_natively(network: nn.Module, weights: str = 'float32') -> None:
    """Have plans run the forward pass of a network in deploy form, in place."""
    if not is_off():
        network.forward = NativeForward(network, weights)
        network.register_load_state_dict_post_hook(forget)


def forget(network: nn.Module, _: Any) -> None:
    """Tensors may be others now."""
    if isinstance(network.__dict__.get('forward'), NativeForward):
        network.forward.forget()


@checked(model=instance(nn.Module, 'a module'))
def refresh_plans(model: nn.Module) -> None:
    """Have native code of a model take its weights and layers anew at the next call.

    That is needed after changes that cannot be seen in no time: a write of a few values through ``.data`` or NumPy, or
    an attribute of a layer such as its stride.

    Example:
        >>> from micronet_mm.deploy import refresh_plans, switch_to_deploy
        >>> backbone = switch_to_deploy(MicroNet('m0'), engine='native')  # doctest: +SKIP
        >>> backbone.stages[0][0][0].weight.data[0] = 0                   # doctest: +SKIP
        >>> refresh_plans(backbone)                                       # doctest: +SKIP
    """
    for module in model.modules():
        forget(module, None)
