"""Values in messages: one line, and short, whatever they are."""
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

from tiny_onnx import write_model

from micronet_mm.hub import create_model
from micronet_mm.models import MicroNet
from micronet_mm.validation import shown as shown_in_arguments
from micronet_runtime import Classifier, Detector, InputError, Model
from micronet_runtime.shown import one_line, shown


class Rude:
    def __repr__(self):
        raise RuntimeError('no')


class Long:
    def __repr__(self):
        return 'line\n' * 10_000


VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3000), st.binary(max_size=3000),
              st.sampled_from([Long(), np.zeros((300, 400, 3), np.uint8), torch.zeros(50, 50), 10**400,
                               bytearray(10**5), np.float32(3), object()])),
    lambda inner: st.one_of(st.lists(inner, max_size=50), st.dictionaries(st.text(max_size=500), inner, max_size=20)),
    max_leaves=40)


@given(VALUES)
def test_any_value_is_one_short_line(value):
    text = shown(value)
    assert (len(text) <= 100 and text.isprintable()) or ('\n' not in text and len(text) <= 100)


@pytest.mark.parametrize(('value', 'text'), [
    ('m0', "'m0'"), (3, '3'), (None, 'None'), ([1, 2], '[1, 2]'), (b'\x89PNG' * 1000, '4000 bytes'),
    (np.zeros((4, 5), np.uint8), 'ndarray of shape (4, 5) and type uint8'),
    (torch.zeros(2, 3), 'Tensor of shape (2, 3) and type torch.float32'), (Rude(), 'an object of class Rude'),
    (Path('a/b'), 'a/b'), ('a\nb', r"'a\nb'"), (np.float32(3), 'np.float32(3.0)'), (dict(a=1), "{'a': 1}"),
])
def test_how_values_are_shown(value, text):
    assert shown(value) == shown_in_arguments(value) == text


def test_long_texts_keep_both_ends():
    assert one_line('begin ' + 'x' * 1000 + ' end', 50).startswith('begin xx') and len(one_line('x' * 1000)) <= 200
    assert shown('begin' + 'x' * 1000 + 'end')[-5:] == "xend'"


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp('model') / 'tiny.onnx', 'classification')


@given(VALUES)
def test_messages_of_the_runtime_are_short(model, value):
    calls = (lambda: Classifier(model)(value), lambda: Model(value), lambda: Model(model, threads=value),
             lambda: Model(model, providers=value), lambda: Classifier(model, batch_size=value),
             lambda: Detector(model, threshold=value))
    for call in calls:
        try:
            call()
        except (InputError, OSError, ValueError) as error:
            assert '\n' not in str(error) and len(str(error)) < 400 + 3 * len(str(model)) + (
                len(value) if isinstance(value, str) else 0)


@given(VALUES)
def test_messages_of_the_package_are_short(value):
    for call in (lambda: MicroNet(value), lambda: MicroNet('m0', in_channels=[value]), lambda: create_model(value)):
        try:
            call()
        except ValueError as error:
            assert len(str(error)) < 700, error
