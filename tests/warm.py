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
from functools import cache
from pathlib import Path
from unittest import mock

FOREIGN = [
    'torch', 'torch._dynamo', 'torch.distributed.fsdp', 'torch.distributed.optim', 'torch.distributed.tensor',
    'torch.utils.tensorboard', 'torchvision', 'cv2', 'matplotlib.pyplot', 'pandas', 'pycocotools.mask', 'rich',
    'scipy.interpolate', 'scipy.ndimage', 'scipy.optimize', 'scipy.signal', 'scipy.stats', 'sklearn.metrics', 'sympy',
    'mmengine.evaluator', 'mmengine.hooks', 'mmengine.infer', 'mmengine.runner', 'mmengine.visualization',
]
SERVER = multiprocessing.get_context('forkserver')
SERVER.set_forkserver_preload(FOREIGN)


def run(command, cwd, env, timeout):
    """What ``subprocess.run`` gives of a script and its arguments; ``stdout`` has both of its streams."""
    with tempfile.NamedTemporaryFile('r+') as output, mock.patch.dict(os.environ, OMP_NUM_THREADS='1'):
        path = [str(Path(command[0]).parent), *filter(None, env.get('PYTHONPATH', '').split(os.pathsep)), *own_path()]
        process = SERVER.Process(target=run_script, args=(command, cwd, env, path, output.name))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(command, timeout, output.read())
        return subprocess.CompletedProcess(command, process.exitcode, output.read())


@cache
def own_path():
    """Where Python looks without being told."""
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}
    show = [sys.executable, '-c', r'import sys; print(*sys.path[1:], sep="\n")']
    return subprocess.run(show, env=env, check=True, capture_output=True, text=True).stdout.splitlines()


def run_script(command, cwd, env, path, output):
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    descriptor = os.open(output, os.O_WRONLY)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv, sys.path[:] = command, path
    try:
        runpy.run_path(command[0], run_name='__main__')
    finally:
        atexit._run_exitfuncs()  # a forked process of multiprocessing leaves them out
