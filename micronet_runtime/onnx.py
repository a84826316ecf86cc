"""ONNX files, and ONNX Runtime that runs them; it is imported when the first of them is opened."""
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Optional

from .errors import InputError
from .shown import one_line, shown


def open_onnx(path: str, threads: Optional[int], providers: Optional[Sequence[Any]]) -> Any:
    """A session of ONNX Runtime.

    Raises:
        InputError: if it is not installed, cannot read the file, or has no such provider.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise InputError(f'{path} needs {error.name}, which is not installed: pip install onnxruntime, or export the '
                         'model as a plan.') from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 3  # errors, which are raised as well
    if threads is not None:
        options.intra_op_num_threads = threads
    providers = check_providers(onnxruntime, providers)
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # its errors have no base of their own
        reason = one_line(str(error).partition('\n')[0] or type(error).__name__)
        raise InputError(f'{path} is no model that ONNX Runtime {onnxruntime.__version__} can read ({reason}); export '
                         'it anew, or update onnxruntime.') from None


def check_providers(onnxruntime: ModuleType, providers: Optional[Sequence[Any]]) -> list:
    """What ONNX Runtime is to compute with; InputError if it cannot."""
    if providers is None:
        return ['CPUExecutionProvider']
    there = onnxruntime.get_available_providers()
    if not isinstance(providers, (list, tuple)):
        raise InputError(f'providers is {shown(providers)}; give a list of {", ".join(there)}.')
    for provider in providers:
        name = provider[0] if isinstance(provider, (tuple, list)) and provider else provider  # with options behind it
        if name not in there:
            raise InputError(f'{shown(name)} is no provider of this ONNX Runtime; give of {", ".join(there)}, or '
                             'install the build that has it.')
    return list(providers)
