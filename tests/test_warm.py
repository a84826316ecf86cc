"""Programs that find PyTorch imported end as they do in a process of their own from the start."""
import os

import pytest
from mm import call


@pytest.mark.parametrize('code', [
    'import os, sys; print(sys.argv, os.getcwd(), os.environ["MICRONET_A"], __name__); print("b", file=sys.stderr)',
    'import sys; print(sys.path)',
    'import sys; sys.exit("an error")',
    'import sys; sys.exit(3)',
    'raise ValueError("an error")',
    'import os, signal; os.kill(os.getpid(), signal.SIGKILL)',
    'import atexit; atexit.register(print, "the end")',
    'import tempfile; kept = tempfile.TemporaryDirectory(prefix="kept", dir=".")',
    'import warnings; warnings.showwarning = print; warnings.warn("careful")',
])
@pytest.mark.parametrize('file', [False, True])
def test_a_program_ends_as_from_a_cold_start(code, file, tmp_path):
    (tmp_path / 'program.py').write_text(code)
    program = [tmp_path / 'program.py'] if file else ['-c', code]
    env = dict(os.environ, MICRONET_A='c', PYTHONPATH=str(tmp_path / 'more'))
    runs = [call('-W', 'always', *program, 'argument', cwd=tmp_path, env=env, apart=True, cold=cold)
            for cold in (False, True)]
    warm, cold = ((run.returncode, run.stdout, run.stderr.splitlines()[-1:]) for run in runs)
    assert warm == cold and not [*tmp_path.glob('kept*')]


def test_what_fills_registries_is_not_there():
    hosts = 'micronet_mm.', 'mmcv', 'mmdet', 'mmpose', 'mmpretrain'
    code = f'import sys, torch; print([name for name in sys.modules if name.startswith({hosts})])'
    assert call('-c', code).stdout == '[]\n'
