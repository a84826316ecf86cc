"""Small runs of MMLab's tools: a dataset, a config and a subprocess."""
import os
import subprocess
import sys
from pathlib import Path

import cv2
import warm

ROOT = Path(__file__).parents[1]
# What a wheel is built of.
SOURCES = ('setup.py', 'pyproject.toml', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md', 'model-index.yml',
           'micronet_mm_autoload.py', 'micronet_mm_console.py', 'micronet_mm_process.py', 'requirements', 'configs',
           'tools', 'micronet_mm', 'micronet_runtime', 'micronet_web')
DEMO = ROOT / 'configs' / 'demo' / 'retinanet_micronet_m3_demo.py'


def call(*command, cwd='.', timeout=300, env=None, cold=False, apart=False):
    """Run a Python program on one thread.

    Args:
        command: a script and its arguments, or what else Python takes.
        cold: a script and code behind -c find PyTorch imported. What is about how Python or PyTorch starts is to run
            ``cold``.
        apart: the result's ``stdout`` has what goes to stderr as well, in order, unless they are to be ``apart``.
    """
    command = [*map(str, command)]
    env = dict(env or os.environ, OMP_NUM_THREADS='1')
    if warm.fits(command) and not cold:
        return warm.run(command, cwd, env, timeout, apart)
    return subprocess.run([sys.executable, *command], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE if apart else subprocess.STDOUT, timeout=timeout)


def write_mixed(folder, pictures):
    """A folder as people have them: the pictures, by name; first halves of those in colour, and what is no picture."""
    folder.mkdir()
    for name, picture in pictures.items():
        cv2.imwrite(str(folder / name), picture)
        if picture.ndim == 3:
            whole = (folder / name).read_bytes()
            (folder / f'cut-{name}').write_bytes(whole[:len(whole) // 2])
    for name in ('README', 'notes.txt', 'a.json', '.hidden.png', 'broken.png'):
        (folder / name).write_text('not an image')
    (folder / 'folder.png').mkdir()
    (folder / 'gone.png').symlink_to('nowhere')
    (folder / 'empty.png').touch()


def write_config(path, data, text='', base=DEMO):
    """A detector's config for a short epoch on the figures in ``data``; ``text`` is appended."""
    path.write_text(f'''
_base_ = {str(base)!r}
data_root = {str(data) + '/'!r}
metainfo = dict(classes=('person', 'disc', 'square', 'triangle'))
load, annotations = dict(type='LoadImageOrSkip'), dict(type='LoadAnnotations', with_bbox=True)
tiny = dict(type='Resize', scale=(64, 64), keep_ratio=True)
meta_keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
loader = dict(num_workers=0, persistent_workers=False)
train_dataloader = dict(batch_size=2, batch_sampler=None, **loader, dataset=dict(
    data_root=data_root, ann_file='annotations/train.json', data_prefix=dict(img='train/'), metainfo=metainfo,
    pipeline=[load, annotations, tiny, dict(type='RandomFlip', prob=0.5), dict(type='PackDetInputs')]))
val_dataloader = dict(**loader, dataset=dict(
    data_root=data_root, ann_file='annotations/val.json', data_prefix=dict(img='val/'), metainfo=metainfo,
    pipeline=[load, tiny, annotations, dict(type='PackDetInputs', meta_keys=meta_keys)]))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + 'annotations/val.json')
test_evaluator = val_evaluator
{text}''')
    return path
