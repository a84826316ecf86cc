"""How a process is to wait for its threads and to keep its memory. Imported before PyTorch, which reads some of it when
it is loaded. What the user set stays.

By default GNU OpenMP's threads spin for milliseconds at every barrier. Beside another busy process they do so while the
thread that they wait for is off the processor, and a step takes many times as long.

By default glibc returns memory to the system when a large tensor is freed, and the next step gets it anew page by page,
each with an interrupt. See docs/training_speed.md.
"""
import ctypes
import os

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt(3)

if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'} & set(os.environ):
    os.environ['GOMP_SPINCOUNT'] = '1000'

if os.name == 'posix' and not {'MALLOC_TRIM_THRESHOLD_', 'MALLOC_MMAP_THRESHOLD_'} & set(os.environ):
    mallopt = getattr(ctypes.CDLL(None), 'mallopt', None)  # glibc has it, others need it not
    if mallopt:
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
        mallopt(MMAP_THRESHOLD, 2**30)
