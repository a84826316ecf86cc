"""Small runs of MMLab's tools: a dataset, a config and a subprocess."""
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
DEMO = ROOT / 'configs' / 'demo' / 'retinanet_micronet_m3_demo.py'


def call(*command, cwd, timeout=300, **kwargs):
    """Run a Python program; its output is in the result's ``stdout``."""
    env = dict(os.environ, OMP_NUM_THREADS='1')
    return subprocess.run([sys.executable, *map(str, command)], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout, **kwargs)


def write_config(path, data, text='', base=DEMO):
    """A config for one short epoch on the figures in ``data``; ``text`` is appended."""
    path.write_text(f'''
_base_ = {str(base)!r}
data_root = {str(data) + '/'!r}
tiny = dict(scale=(64, 64), keep_ratio=True)
load, annotations = dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)
train_dataloader = dict(batch_size=2, dataset=dict(data_root=data_root, pipeline=[
    load, annotations, dict(type='Resize', **tiny), dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(dataset=dict(data_root=data_root))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
{text}''')
    return path
