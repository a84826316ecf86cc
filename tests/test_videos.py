"""Videos that are not all there, and those that are odd; every number is known."""
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from mm import ROOT
from tiny_onnx import write_model

from micronet_runtime import Frame
from micronet_runtime.__main__ import main
from micronet_runtime.sources import Input, read_inputs
from micronet_runtime.writing import Film, encoded_rate


def write_video(path, frames=100, rate=25.0, codec='MJPG'):
    rng = np.random.default_rng(0)
    video = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), rate, (64, 48))
    assert video.isOpened()
    for _ in range(frames):
        video.write(rng.integers(0, 255, (48, 64, 3), np.uint8))
    video.release()
    return path


def frames_of(path):
    faults = []
    return [frame.frame for frame in read_inputs([Input(str(path), str(path))], str(path), faults)], faults


@pytest.fixture
def model(tmp_path):
    return write_model(tmp_path / 'tiny.onnx', 'classification')


@pytest.fixture
def cut(tmp_path):
    """The first half of 100 frames: OpenCV reads some 50, and says nothing."""
    path = write_video(tmp_path / 'cut.avi')
    os.truncate(path, path.stat().st_size // 2)
    return path


def test_a_whole_video_has_all_its_frames(tmp_path):
    for name, codec in (('a.avi', 'MJPG'), ('a.mp4', 'mp4v'), ('a.mkv', 'mp4v')):
        assert frames_of(write_video(tmp_path / name, codec=codec)) == ([*range(100)], [])


def test_a_video_that_is_cut_off_is_said_to_be(cut):
    found, (fault, ) = frames_of(cut)
    assert 40 < len(found) < 60
    assert fault == f'{len(found)} of about 100 frames of {cut} could be read: it may be cut off or damaged'


def test_what_lies_behind_a_hole_is_read(tmp_path):
    path = write_video(tmp_path / 'hole.mp4', codec='mp4v')
    with path.open('r+b') as file:
        size = path.stat().st_size
        file.seek(size // 6)
        file.write(bytes(size // 10))
    found, faults = frames_of(path)
    assert len(found) > 60 and found == [*range(len(found))]
    assert not faults or f'{len(found)} of about 100 frames' in faults[0]


def test_the_command_keeps_what_it_found_and_fails(cut, model, tmp_path):
    command = [sys.executable, '-m', 'micronet_runtime', model, cut, '--json', 'found.json', '--out-dir', 'd']
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True,
                          env=dict(os.environ, PYTHONPATH=str(ROOT)))
    found = json.loads((tmp_path / 'found.json').read_text())
    assert done.returncode == 1 and 40 < len(found) < 60
    last = done.stderr.strip().splitlines()[-1]
    assert last == (f'error: {len(found)} of about 100 frames of {cut} could be read: it may be cut off or damaged. '
                    'What was found before that is written.')
    assert frames_of(tmp_path / 'd' / 'cut.avi')[0] == [*range(len(found))]


@pytest.mark.parametrize(('rate', 'expected'), [
    (119.877, 119.88), (29.97, 29.97), (23.976, 23.976), (59.94006, 59.94), (999.9, 999.9), (None, 25), (0.5, 0.5)])
def test_rates_that_mpeg_4_can_hold(rate, expected, tmp_path):
    assert encoded_rate(rate) == expected
    film = Film(tmp_path / 'film.mp4')
    for number in range(12):
        film.add(Frame('x', number, np.zeros((48, 64, 3), np.uint8), rate), np.full((48, 64, 3), 9 * number, np.uint8))
    film.close(None, None, None)
    video = cv2.VideoCapture(str(tmp_path / 'film.mp4'))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(expected, rel=1e-3)
    assert frames_of(tmp_path / 'film.mp4')[0] == [*range(12)]


def test_a_drawing_that_cannot_be_encoded_does_not_lose_the_list(model, tmp_path, monkeypatch, capsys):
    path = write_video(tmp_path / 'a.avi', 10)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cv2.VideoWriter, 'isOpened', lambda self: False)
    with pytest.raises(SystemExit) as stop:
        main([str(model), str(path), '--json', 'found.json', '--out-dir', 'd'])
    assert len(json.loads((tmp_path / 'found.json').read_text())) == 10
    assert stop.value.code.startswith('error: d/a.avi cannot be encoded by this OpenCV. What was found')
    monkeypatch.setenv('MICRONET_TRACEBACK', '1')
    with pytest.raises(ValueError, match='cannot be encoded'):
        main([str(model), str(path), '--out-dir', 'e'])


def test_frames_of_another_size_are_drawn_too(tmp_path):
    film = Film(tmp_path / 'film.avi')
    for number, size in enumerate(((48, 64), (24, 32), (48, 64))):
        film.add(Frame('x', number, None, 25), np.zeros((*size, 3), np.uint8))
    film.close(None, None, None)
    assert frames_of(tmp_path / 'film.avi')[0] == [0, 1, 2]


def test_a_film_without_content_is_an_error(tmp_path, monkeypatch):
    """Some builds of OpenCV open a writer, and write nothing."""
    film = Film(tmp_path / 'film.mp4')
    monkeypatch.setattr(cv2.VideoWriter, 'write', lambda *_: None)
    film.add(Frame('x', 0, None, 25), np.zeros((48, 64, 3), np.uint8))
    with pytest.raises(ValueError, match=r'film\.mp4 cannot be encoded'):
        film.close(None, None, None)
    assert not list(tmp_path.iterdir())
