"""What the commands share: options, the config they lead to, and errors of one line."""
import argparse
import logging
import os
import re
import sys
import sysconfig
import traceback
from ast import literal_eval
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path
from typing import Any, Optional

from mmengine.config import Config, DictAction
from mmengine.config.utils import ConfigParsingError
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from micronet_mm.bundled_configs import PACKAGE, find_config
from micronet_mm.checkpoint import CheckpointError, allow_named
from micronet_mm.checkpoint.atomic import DISK_FULL
from micronet_mm.datasets import UnreadableImageError
from micronet_mm.engine.checks.names import check_arguments
from micronet_mm.validation import building, integer
from micronet_runtime.shown import one_line

from .errors import RunStopped
from .first_screen import BriefRunner
from .pure_python import with_names

TRACEBACK = 'MICRONET_TRACEBACK'
LONGEST_LINE = 2000  # characters of a message
# Errors about user input; other errors are printed with their class. Errors of workers are matched by name.
USUAL = FileNotFoundError, ImportError, ValueError, CheckpointError, RunStopped, UnreadableImageError
USUAL_NAMES = {kind.__name__ for kind in USUAL}


class Options(DictAction):
    """MMEngine's ``--cfg-options``, with the spaces in quoted names and in paths, which MMEngine takes out."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: list[str],
                 option_string: Optional[str] = None) -> None:
        for text in values:
            if '=' not in text:
                raise argparse.ArgumentError(self, f'{text!r} is no KEY=VALUE; quote what has spaces in it.')
        super().__call__(parser, namespace, values, option_string)

    def _parse_iterable(self, value: str) -> Any:
        try:
            parsed = literal_eval(value)
            return list(parsed) if isinstance(parsed, tuple) and not value.strip().startswith('(') else parsed
        except (ValueError, SyntaxError):
            if not re.search(r'[,()\[\]]', value):
                return self._parse_int_float_bool(value.strip('\'"'))
            if re.search(r'\w +\w', value):
                raise argparse.ArgumentError(self, f'{value!r} has a space in a name: quote each name, as in '
                                                   '"(\'person\',\'big disc\')".') from None
            try:
                return super()._parse_iterable(value)
            except (RecursionError, AssertionError):
                raise argparse.ArgumentError(self, f'{value!r} is not understood: give each entry by itself, as in '
                                                   'KEY.ENTRY=VALUE, or a dict as in "{\'type\': \'A\'}".') from None


def config_parser(description: str) -> argparse.ArgumentParser:
    """A parser that takes a config and ``--cfg-options``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument('config', help='config file, or the name of one that comes with the package')
    parser.add_argument('--cfg-options', nargs='+', action=Options, metavar='KEY=VALUE',
                        help='replace settings of the config, for example train_dataloader.batch_size=4')
    return parser


def common_parser(description: str) -> argparse.ArgumentParser:
    """The options of MMLab's tools that training and testing have in common."""
    parser = config_parser(description)
    parser.add_argument('--work-dir', help='folder for logs and checkpoints (default: work_dirs/<config name>)')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='how the processes of a distributed run were started')
    parser.add_argument('--no-checks', action='store_true',
                        help='do not check data and config against each other before the run, nor repair annotations')
    # torchrun sets LOCAL_RANK; torch.distributed.launch passes this option instead.
    parser.add_argument('--local_rank', '--local-rank', type=integer(0), default=0, help=argparse.SUPPRESS)
    return parser


def read_config(path: str, options: Optional[dict] = None) -> Config:
    """The config in ``path`` with ``options`` merged into it; classes of a pure-Python config become their names.

    Args:
        path: a file, or what :func:`micronet_mm.bundled_configs.find_config` finds.
        options: as :class:`Options` gives them.

    Raises:
        FileNotFoundError: if the config does not exist.
        ImportError: if it builds on a package that is not installed.
        ValueError: if it, or one of its bases, is no valid config, an option does not fit it, or it gives a class of
            this package an argument that it does not take.
    """
    file = find_config(path)
    try:
        cfg = with_names(Config.fromfile(file))
    except (SyntaxError, ConfigParsingError, FileNotFoundError, KeyError, TypeError, AssertionError) as error:
        raise ValueError(f'the config {path} cannot be read: {error}') from None
    try:
        cfg.merge_from_dict(options or {})
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f'--cfg-options does not fit {path}: {error}') from None
    if 'preprocess_cfg' in cfg and 'model' in cfg:  # mmpose's name for a model-independent data preprocessor
        cfg.model.setdefault('data_preprocessor', cfg.preprocess_cfg)
    check_arguments(cfg)
    return cfg


def load_config(args: argparse.Namespace) -> Config:
    """The config with the common options applied.

    Raises:
        ValueError: if processes on CPUs are not started by torchrun, or ``safe_globals`` in the config names what is
            not there; and what :func:`read_config` raises.
    """
    if args.launcher not in ('none', 'pytorch') and get_device() == 'cpu':
        raise ValueError(f'--launcher {args.launcher} needs accelerators; start processes on CPUs with torchrun and '
                         '--launcher pytorch.')
    cfg = read_config(args.config, args.cfg_options)
    allow_named(cfg.get('safe_globals') or [])
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    cfg.launcher = args.launcher
    if args.work_dir:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = str(Path('work_dirs') / Path(cfg.filename).stem)
    return cfg


def enable_amp(cfg: Config, dtype: str = 'auto') -> None:
    """Switch to mixed precision.

    Args:
        cfg: changed in place.
        dtype: 'bf16', 'fp16' (with dynamic loss scaling), or 'auto': fp16 on an accelerator, bf16 on a CPU.

    Raises:
        ValueError: if the optimizer wrapper cannot, or the machine has no accelerator for fp16.
    """
    kind = cfg.optim_wrapper.get('type', 'OptimWrapper')
    if kind not in ('OptimWrapper', 'AmpOptimWrapper', 'Bf16OptimWrapper'):
        raise ValueError(f"--amp replaces an optim_wrapper of type 'OptimWrapper', but the config has {kind!r}; "
                         'set mixed precision in the config.')
    on_cpu = get_device() == 'cpu'
    if dtype == 'fp16' and on_cpu:
        raise ValueError('--amp fp16 needs an accelerator; on a CPU use --amp bf16.')
    if on_cpu:
        print_log('--amp trains in bfloat16, which has no fast CPU kernels here: a step of MicroNet takes about three '
                  'times as long as in float32. Leave --amp out to train faster.', 'current',
                  logging.WARNING)
    if dtype == 'bf16' or on_cpu:
        cfg.optim_wrapper.type = 'Bf16OptimWrapper'
    else:
        cfg.optim_wrapper.type = 'AmpOptimWrapper'
        cfg.optim_wrapper.setdefault('loss_scale', 'dynamic')


def enable_auto_scale_lr(cfg: Config) -> None:
    """Scale the learning rate with the total batch.

    Raises:
        ValueError: if the config does not name the batch size of its learning rate.
    """
    if not (cfg.get('auto_scale_lr') or {}).get('base_batch_size'):
        raise ValueError('--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config: the total batch '
                         'that its learning rate is meant for.')
    cfg.auto_scale_lr.enable = True


def place_of(error: BaseException) -> str:
    """Return the file and line of an error in brackets, in the user's own code if that made the failing call.

    Return an empty string for errors of this package, because their messages say what to do.
    """
    found = []
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if is_ours(path):
            break
        if path.is_file() and (is_installed(path) or not path.is_relative_to(sysconfig.get_path('stdlib'))):
            found.append((is_installed(path), f' ({path}, line {frame.lineno})'))
    return min(found, key=itemgetter(0), default=(False, ''))[1]


def shows_tracebacks() -> bool:
    """Return whether ``MICRONET_TRACEBACK=1`` asks for tracebacks."""
    return os.environ.get(TRACEBACK, '0') not in ('', '0')


def described(error: Exception) -> str:
    """Return an error's message in one line with its place, and with its class unless it is about user input.

    An error in a dataloader worker contains its traceback as text.
    """
    text = str(error)
    if 'Original Traceback (most recent call last)' in text:
        said = next(line for line in reversed(text.splitlines()) if line and not line.startswith(' '))
        name, _, message = said.partition(': ')
        name = name.rpartition('.')[2]
        is_usual, place = name in USUAL_NAMES, place_in(text)
    else:
        name, message, place, is_usual = type(error).__name__, text, place_of(error), isinstance(error, USUAL)
    message = one_line(message, LONGEST_LINE)
    if message.startswith('Expected more than 1 value per channel'):  # batch norm after pooling
        message += ': a batch of one image cannot be normalized there; set train_dataloader.batch_size to 2 or more'
    return f'{message}{place}' if is_usual and message else (
        f'{name}: {message}{place}. {TRACEBACK}=1 in the environment shows the traceback.')


def place_in(text: str) -> str:
    """As :func:`place_of`, of a traceback that is text."""
    places = [(Path(file), line) for file, line in re.findall(r'File "([^"]+)", line (\d+)', text)]
    if not places or is_ours(places[-1][0]):
        return ''
    of_user = [each for each in places if not is_installed(each[0])
               and not each[0].is_relative_to(sysconfig.get_path('stdlib'))]
    file, line = (of_user or places)[-1]
    return f' ({file}, line {line})'


def is_installed(path: Path) -> bool:
    return not {'site-packages', 'dist-packages'}.isdisjoint(path.parts)


def is_ours(path: Path) -> bool:
    return any(map(path.is_relative_to, (PACKAGE, PACKAGE.with_name('micronet_runtime'))))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """End the program with one line on stderr; ``MICRONET_TRACEBACK=1`` in the environment gives the traceback."""
    try:
        yield
    except Exception as error:
        if shows_tracebacks():
            raise
        # MMEngine wraps a failed custom_imports in a page of text. Its cause names the module, and the context why.
        shown = error.__cause__ if isinstance(error.__cause__, Exception) else error
        why = shown.__context__
        if not str(shown).startswith('Failed to import ') or why is None:
            sys.exit(f'error: {described(shown)}')
        absent = isinstance(why, ModuleNotFoundError) and f'{shown}.'.startswith(f'Failed to import {why.name}.')
        remedy = '. Correct custom_imports, or name the folder that has the module in PYTHONPATH.'
        sys.exit(f'error: {shown}: {why}{remedy if absent else place_of(why)}')


@contextmanager
def one_line_stops(keeps: Callable[[], str] = str) -> Iterator[None]:
    """End the program with one line where the run stopped itself or failed.

    Args:
        keeps: returns what is not lost, for the message of an unexpected error.
    """
    try:
        yield
    except Exception as error:
        if shows_tracebacks():
            raise
        if isinstance(error, (RunStopped, CheckpointError)):
            sys.exit(f'error: {error}')
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            named = f'{error.filename}: ' if error.filename else ''
            sys.exit(f'error: {named}{error.strerror}. Complete checkpoints are kept. Free space, then --resume.')
        sys.exit(f'error: {described(error)}{keeps()}')


def build_runner(cfg: Config) -> Runner:
    """MMEngine's Runner, or the one that ``runner_type`` names, joined with the other processes.

    Raises:
        ValueError: if the config names what is not there, or what it names cannot be built.
    """
    if cfg.launcher != 'none' and get_device() == 'cpu':
        from .gloo import use_gloo
        use_gloo(cfg)
    with building():
        return RUNNERS.build(cfg) if 'runner_type' in cfg else BriefRunner.from_cfg(cfg)


def build_loops(runner: Runner, *phases: str) -> None:
    """Build the loops of phases, and with them the datasets, which MMEngine leaves to when the first of them begins.

    Raises:
        ValueError: if the config names what is not there, or what it names cannot be built.
    """
    with building():
        for phase in phases:
            getattr(runner, f'{phase}_loop')
