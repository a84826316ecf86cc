"""MMEngine's training checkpoints load with ``weights_only=True``; other pickled code does not."""
import datetime
import functools
import importlib
import operator
import os
import pickle
import subprocess
from collections import Counter, OrderedDict, defaultdict, deque
from fractions import Fraction
from pathlib import Path, PureWindowsPath
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from mm import call
from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyObject
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.optim import scheduler as schedulers
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler
from mmengine.runner import CheckpointLoader

from micronet_mm.checkpoint import (
    BrokenCheckpointError,
    CheckpointError,
    RefusedCheckpointError,
    allow_mmengine_checkpoints,
    allow_named,
)
from micronet_mm.checkpoint.reading import read_checkpoint


def message_hub():
    hub = MessageHub('test_safe_globals')
    for value in (1.0, 0.5):
        hub.update_scalar('train/loss', value)
        hub.update_scalar('train/acc', torch.tensor(value))
        hub.update_scalar('val/ap', np.float32(value))
    hub.update_info('iter', np.int64(7))
    return hub.state_dict()


def test_message_hub_survives(tmp_path):
    torch.save(dict(message_hub=message_hub()), tmp_path / 'c.pth')
    hub = torch.load(tmp_path / 'c.pth', weights_only=True)['message_hub']
    assert hub['log_scalars']['train/loss'].data[0].tolist() == [1.0, 0.5]
    assert hub['log_scalars']['val/ap'].mean() == 0.75
    assert hub['runtime_info']['iter'] == 7


@pytest.mark.parametrize('module', ['numpy.core.multiarray', 'numpy._core.multiarray'])
def test_checkpoints_of_either_numpy(module, tmp_path):
    torch.save(dict(message_hub=message_hub()), tmp_path / 'c.pth', _use_new_zipfile_serialization=False)
    content = (tmp_path / 'c.pth').read_bytes()
    for written in (b'numpy._core.multiarray', b'numpy.core.multiarray'):
        content = content.replace(b'c' + written + b'\n', b'c' + module.encode() + b'\n')
    (tmp_path / 'c.pth').write_bytes(content)
    assert torch.load(tmp_path / 'c.pth', weights_only=True)['message_hub']['log_scalars']


def test_it_is_the_import_that_allows_it(tmp_path):
    torch.save(dict(message_hub=message_hub()), tmp_path / 'c.pth')
    code = 'import mmengine.logging, torch, sys; torch.load(sys.argv[1], weights_only=True)'
    refused = call('-c', code, tmp_path / 'c.pth', apart=True)
    assert 'HistoryBuffer' in refused.stderr


SCHEDULERS = {
    'OneCycleLR': dict(eta_max=0.1, total_steps=9),
    'OneCycleLR linear': dict(eta_max=0.1, total_steps=9, anneal_strategy='linear', three_phase=True),
    'ReduceOnPlateauLR': dict(monitor='loss'),
    'CosineRestartLR': dict(periods=[3, 6], restart_weights=[1, 0.5], eta_min=0),
    'MultiStepLR': dict(milestones=[3]),
    'StepLR': dict(step_size=3),
    'ExponentialLR': dict(gamma=0.9),
    'PolyLR': dict(power=0.9),
    'LinearLR': dict(),
    'ConstantLR': dict(),
    'CosineAnnealingLR': dict(T_max=9),
}


@pytest.mark.parametrize('name', SCHEDULERS)
def test_states_of_schedulers(name, tmp_path):
    kind = getattr(schedulers, name.partition(' ')[0])
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], 0.1)
    scheduler = kind(optimizer, **SCHEDULERS[name])
    torch.save(scheduler.state_dict(), tmp_path / 's.pth')
    found = torch.load(tmp_path / 's.pth', weights_only=True)
    assert found == scheduler.state_dict()
    kind(optimizer, **SCHEDULERS[name]).load_state_dict(found)


DATA = {
    'a config': ConfigDict(a=1, b=ConfigDict(c=[1, (2, 'x')])),
    'a deque': deque([1, 2], maxlen=3),
    'an ordered dict': OrderedDict(a=1),
    'a counter': Counter('aab'),
    'a dict of defaults': defaultdict(list, a=[1]),
    'sets': (frozenset([1]), {2}),
    'numbers': (1, 2.5, 1j, True, None, slice(1, 2), range(3), b'bytes', bytearray(b'more')),
    'a path': Path('a/b.jpg'),
    'times': (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.timezone.utc), datetime.timedelta(1),
              datetime.date(2026, 1, 2)),
    'types of tensors': (torch.float16, torch.bfloat16, torch.device('cpu'), torch.Size([1, 2])),
    'scalars': tuple(np.dtype(name).type(1) for name in ('f2', 'f4', 'f8', 'i1', 'i4', 'u2', 'u8', 'c8', 'c16', '?')),
    'strings of NumPy': np.str_('person'),
    'times of NumPy': (np.datetime64('2026-01-02'), np.timedelta64(3, 's')),
}
ARRAYS = [np.array(['person', 'disc']), np.array([b'x']), np.arange(3, dtype='>i2'), np.zeros((0, 4), np.uint8),
          np.array([None, 'a'], dtype=object), np.zeros(2, dtype=[('x', 'f4'), ('y', 'i8')]),
          np.arange(4, dtype='longdouble')]


@pytest.mark.parametrize('what', DATA)
def test_what_hooks_and_datasets_may_say_of_themselves(what, tmp_path):
    torch.save(dict(meta=dict(dataset_meta=DATA[what])), tmp_path / 'c.pth')
    found = torch.load(tmp_path / 'c.pth', weights_only=True)['meta']['dataset_meta']
    assert found == (list(DATA[what]) if isinstance(DATA[what], deque) else DATA[what])


def test_arrays_of_every_kind(tmp_path):
    torch.save(ARRAYS, tmp_path / 'c.pth')
    for found, array in zip(torch.load(tmp_path / 'c.pth', weights_only=True), ARRAYS):
        assert found.dtype == array.dtype.newbyteorder('=') and np.array_equal(found, array)


def test_paths_of_other_systems_and_pythons(tmp_path):
    for line, kind in ((b'cpathlib._local\nPosixPath\n', Path), (b'cpathlib\nWindowsPath\n', PureWindowsPath)):
        found = torch.load(as_checkpoint(line + b'(X\x01\x00\x00\x00atR', tmp_path), weights_only=True)
        assert found == kind('a')


def as_checkpoint(pickled, folder):
    """A checkpoint with a pickle written by hand."""
    torch.save(0, folder / 'whole.pth')
    with ZipFile(folder / 'whole.pth') as source, ZipFile(folder / 'c.pth', 'w') as target:
        for item in source.infolist():
            data = source.read(item)
            target.writestr(item, b'\x80\x02' + pickled + b'.' if item.filename.endswith('data.pkl') else data)
    return folder / 'c.pth'


class Payload:

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


class Built(Payload):
    """An object whose state is set, which ``__setstate__`` might turn into code."""

    def __reduce__(self):
        return self.function, (), self.args


HOSTILE = {
    'os': Payload(Path.touch, Path('touched_by_pickle')),
    'eval': Payload(eval, '1 + 1'),
    'exec': Payload(exec, 'import os'),
    'system': Payload(os.system, 'touch touched_by_pickle'),
    'an import': Payload(importlib.import_module, 'antigravity'),
    'a process': Payload(subprocess.Popen, ['touch', 'touched_by_pickle']),
    'getattr of an allowed class': Payload(getattr, HistoryBuffer, '__init__'),
    'getattr': Payload(getattr, Path, 'touch'),
    'a statistic of another allowed class': Payload(getattr, np.ndarray, 'max'),
    'getattr of a path': Payload(getattr, Path('touched_by_pickle'), 'touch'),
    'getattr of a config': Payload(getattr, ConfigDict, 'fromkeys'),
    'getattr of a type': Payload(getattr, str, '__subclasses__'),
    'another function of a scheduler': Payload(getattr, OneCycleParamScheduler, 'build_iter_from_epoch'),
    'a dunder of a scheduler': Payload(getattr, OneCycleParamScheduler, '__init__'),
    'a scheduler': Payload(OneCycleParamScheduler, None, 'lr'),
    'a config file': Payload(Config.fromfile, 'touch.py'),
    'a partial function': Payload(functools.partial, os.system, 'touch touched_by_pickle'),
    'an attribute getter': Payload(operator.attrgetter('__class__')),
    'a default that is code': Payload(defaultdict, os.system),
    'a lazy import': Payload(LazyObject, 'os', 'system'),
    'a type made up': Payload(type, 'T', (), {}),
    'a module': Payload(__import__, 'os'),
    'a file of arrays': Payload(np.load, 'x.npy', None, True),
    'an open file': Payload(open, 'touched_by_pickle', 'w'),
    'a path that is made': Payload(Path.mkdir, Path('touched_by_pickle')),
    'a deque of what maps': Payload(deque, Payload(map, os.system, ['touch touched_by_pickle'])),
    'a state for a path': Built(Path.cwd, 'x'),
}


@pytest.mark.parametrize('what', HOSTILE)
def test_other_code_is_refused(what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(message_hub=message_hub(), meta=HOSTILE[what]), 'c.pth')
    for load in (torch.load, CheckpointLoader.load_checkpoint):  # MMEngine's maintained line has rules of its own
        with pytest.raises(pickle.UnpicklingError, match='Weights only load failed'):
            load('c.pth')
    assert not Path('touched_by_pickle').exists()


def test_what_is_refused_is_named_and_can_be_allowed(tmp_path):
    """In the format of today and the one before."""
    for new in (True, False):
        torch.save(dict(meta=Fraction(1, 3)), tmp_path / 'c.pth', _use_new_zipfile_serialization=new)
        message = (r'c\.pth is whole, but holds fractions\.Fraction, which is not allowed.*safe_globals='
                   r"\['module\.Type'\] in the config")
        with pytest.raises(RefusedCheckpointError, match=message):
            read_checkpoint(tmp_path / 'c.pth')
    try:
        allow_named(['fractions.Fraction'])
        assert read_checkpoint(tmp_path / 'c.pth')['meta'] == Fraction(1, 3)
    finally:
        torch.serialization.clear_safe_globals()
        allow_mmengine_checkpoints()
    with pytest.raises(ValueError, match=r"safe_globals names 'no\.Type', which cannot be imported"):
        allow_named(['no.Type'])


@pytest.mark.parametrize('new', [True, False], ids=['today', 'the format before'])
def test_what_is_cut_off_is_broken(new, tmp_path):
    torch.save(dict(meta=Fraction(1, 3), state_dict=dict(a=torch.rand(1000))), tmp_path / 'c.pth',
               _use_new_zipfile_serialization=new)
    size = (tmp_path / 'c.pth').stat().st_size
    for left in (0, 2, 30, size // 2):
        os.truncate(tmp_path / 'c.pth', left)
        with pytest.raises(CheckpointError, match=r'c\.pth is') as error:
            read_checkpoint(tmp_path / 'c.pth')
        # Of the old format, half a file may be refused before its end is missed.
        assert isinstance(error.value, BrokenCheckpointError) or not new
    (tmp_path / 'c.pth').write_bytes(b'<html>404</html>')
    with pytest.raises(BrokenCheckpointError, match='cannot be read as a checkpoint'):
        read_checkpoint(tmp_path / 'c.pth')
