"""Let OpenMP's threads spin only shortly while they wait. Imported before PyTorch, which reads this when it is loaded.

By default GNU OpenMP's threads spin for milliseconds at every barrier. Beside another busy process they do so while the
thread that they wait for is off the processor, and a step takes many times as long; see docs/training_speed.md. What
the user set stays.
"""
import os

if not {'OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'} & set(os.environ):
    os.environ['GOMP_SPINCOUNT'] = '1000'
