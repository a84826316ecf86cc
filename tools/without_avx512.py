"""Run a program as if this processor had neither AVX-512 nor AMX, to measure what all libraries do on one that has not:

    python tools/without_avx512.py python tools/benchmark_latency.py --networks m3 mobilenetv3_small_050

Linux on a processor whose CPUID can be made to fault (``cpuid_fault`` in /proc/cpuinfo), and gcc, are needed.
What the program itself starts is not kept from anything.
"""
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).with_name('_without_avx512.c')


def main() -> None:
    if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help'):
        sys.exit(__doc__)
    compiler = shutil.which(os.environ.get('CC', 'gcc'))
    if compiler is None:
        sys.exit('no C compiler was found; install gcc, or name one in CC.')
    folder = tempfile.mkdtemp(prefix='without-avx512-')
    library = Path(folder, 'library.so')
    try:
        made = subprocess.run([compiler, '-O2', '-shared', '-fPIC', str(SOURCE), '-o', str(library)],
                              capture_output=True, text=True)
        if made.returncode:
            sys.exit(f'{compiler} failed: {made.stderr.strip().splitlines()[0] if made.stderr else made.returncode}')
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, 'LD_PRELOAD': str(library)}).returncode)
    except FileNotFoundError as error:
        sys.exit(f'{error.filename} does not exist; name a program to run.')
    finally:
        shutil.rmtree(folder)


if __name__ == '__main__':
    main()
