"""Python programs in processes of their own that need not import PyTorch anew, which takes longer than most of them do.

A fork server of multiprocessing has imported what others wrote and what fills no registry. Of this package, mmcv,
mmdet, mmpose and mmpretrain it has nothing, so that a program that forgets to import one of them is found out.
"""
import atexit
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
import warnings
import weakref
from functools import cache
from pathlib import Path
from types import ModuleType
from unittest import mock

FOREIGN = [
    'torch', 'torch._dynamo', 'torch.distributed.fsdp', 'torch.distributed.optim', 'torch.distributed.tensor',
    'torch.utils.tensorboard', 'torchvision', 'cv2', 'matplotlib.pyplot', 'pandas', 'pycocotools.mask', 'rich',
    'scipy.interpolate', 'scipy.ndimage', 'scipy.optimize', 'scipy.signal', 'scipy.stats', 'sklearn.metrics', 'sympy',
    'mmengine.evaluator', 'mmengine.hooks', 'mmengine.infer', 'mmengine.runner', 'mmengine.visualization',
]
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(FOREIGN)


def fits(command):
    """Whether it is a script or, behind -c, code; before it -W may stand."""
    return command[0] == '-c' or command[0].endswith('.py') or (command[0] == '-W' and fits(command[2:]))


def run(command, cwd, env, timeout, apart):
    """What ``subprocess.run`` gives; ``stdout`` has both of the program's streams unless they are to be ``apart``."""
    path = [*filter(None, env.get('PYTHONPATH', '').split(os.pathsep)), *own_path()]
    with tempfile.TemporaryDirectory() as folder, mock.patch.dict(os.environ, OMP_NUM_THREADS='1'):
        out = Path(folder, 'out')
        error = Path(folder, 'error') if apart else out
        process = SERVER.Process(target=run_here, args=(command, cwd, env, path, out, error))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout, out.read_text())
        return subprocess.CompletedProcess(command, process.exitcode, out.read_text(), error.read_text())


@cache
def own_path():
    """Where Python looks without being told."""
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    show = [sys.executable, '-c', r'import sys; print(*sys.path[1:], sep="\n")']
    return subprocess.run(show, env=env, check=True, capture_output=True, text=True).stdout.splitlines()


def run_here(command, cwd, env, path, out, error):
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    for file, stream in ((out, 1), (error, 2)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream)
    atexit._clear()  # what the server has to do at its end, and with what it holds
    weakref.finalize._registry.clear()
    weakref.finalize._registered_with_atexit = False
    while command[0] == '-W':
        warnings.simplefilter(command[1])
        command = command[2:]
    try:
        if command[0] == '-c':
            sys.argv, sys.path[:] = ['-c', *command[2:]], ['', *path]
            main = sys.modules['__main__'] = ModuleType('__main__')
            exec(compile(command[1], '<string>', 'exec'), vars(main))
        else:
            sys.argv, sys.path[:] = command, [str(Path(command[0]).parent), *path]
            runpy.run_path(command[0], run_name='__main__')
    finally:
        atexit._run_exitfuncs()  # multiprocessing leaves them out
