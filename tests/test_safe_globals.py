"""MMEngine's training checkpoints load with ``weights_only=True``; other pickled code does not."""
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.runner import CheckpointLoader

import micronet_mm  # noqa: F401  (allow-lists what MMEngine writes)


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
    refused = subprocess.run([sys.executable, '-c', code, tmp_path / 'c.pth'], capture_output=True, text=True)
    assert 'HistoryBuffer' in refused.stderr


class Payload:

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args


@pytest.mark.parametrize('payload', [
    Payload(Path.touch, Path('touched_by_pickle')),
    Payload(eval, '1 + 1'),
    Payload(getattr, HistoryBuffer, '__init__'),
    Payload(getattr, Path, 'touch'),
    Payload(getattr, np.ndarray, 'max'),
], ids=['os', 'eval', 'getattr of an allowed class', 'getattr', 'a statistic of another allowed class'])
def test_other_code_is_refused(payload, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save(dict(message_hub=message_hub(), meta=payload), 'c.pth')
    for load in (torch.load, CheckpointLoader.load_checkpoint):  # MMEngine's maintained line has rules of its own
        with pytest.raises(Exception, match='Weights only load failed'):
            load('c.pth')
    assert not Path('touched_by_pickle').exists()
