"""Keypoints of plans: heatmaps decoded by the runtime as mmpose and the exporter's graph decode them."""
import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mm import ROOT
from torch import nn

pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')
pytest.importorskip('mmpose')

from mmpose.codecs import MSRAHeatmap, UDPHeatmap
from test_exporter import built
from test_plan_files import described, run, runnable  # noqa: F401

from micronet_mm.deploy.decoding import describe_decoding
from micronet_mm.deploy.keypoints import HeatmapDecoder, PoseModel
from micronet_runtime import PlanError, PoseEstimator
from micronet_runtime.heatmaps import Heatmaps, decode

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::UserWarning',
                                        'ignore::torch.jit.TracerWarning')
CONFIG = ROOT / 'configs' / 'demo' / 'keypoint_micronet_m0_demo.py'
HEIGHT, WIDTH = 32, 24


def codec_of(unbiased, blur=11):
    return MSRAHeatmap(input_size=(4 * WIDTH, 4 * HEIGHT), heatmap_size=(WIDTH, HEIGHT), sigma=2, unbiased=unbiased,
                       blur_kernel_size=blur)


def hills(seed, batch=2, keypoints=5):
    """Heatmaps (N, K, H, W) of hills anywhere, also beyond the border; the first one without a positive value."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    centers = rng.uniform((-1, -1), (HEIGHT + 1, WIDTH + 1), (batch, keypoints, 2))[..., None, None]
    found = np.exp(-((rows - centers[:, :, 0])**2 + (columns - centers[:, :, 1])**2) / 8)
    found += rng.uniform(-0.005, 0.005, found.shape)
    found[0, 0] = rng.choice([-1, 0])
    return found.astype(np.float32)


@settings(max_examples=50)
@given(st.sampled_from([None, 11, 17]), st.integers(0, 10**6))
def test_hills_are_decoded_as_mmpose_and_the_graph_decode_them(blur, seed):
    codec, heatmaps = codec_of(blur is not None, blur or 11), hills(seed)
    keypoints, scores = decode(heatmaps, codec.scale_factor, blur)
    in_graph, graph_scores = HeatmapDecoder(codec)(torch.from_numpy(heatmaps))
    assert np.array_equal(scores, graph_scores)
    np.testing.assert_allclose(keypoints, in_graph, atol=0 if blur is None else 1e-2)
    for mine, score, maps in zip(keypoints, scores, heatmaps):
        with np.errstate(invalid='ignore'):  # mmpose divides by zero where nothing is positive
            theirs, their_scores = codec.decode(maps)
        np.testing.assert_allclose(mine, theirs[0], atol=0 if blur is None else 1e-2)
        assert np.array_equal(score, their_scores[0])
    assert keypoints[0, 0].tolist() == [-4, -4]


@pytest.mark.parametrize('blur', [None, 11])
def test_every_place_may_be_the_best(blur):
    """Also in corners and at borders, where there are no neighbours to look at."""
    places = np.arange(HEIGHT * WIDTH)
    heatmaps = np.zeros((len(places), 1, HEIGHT, WIDTH), np.float32)
    heatmaps.reshape(len(places), -1)[places, places] = 1
    smooth = np.stack([cv2.GaussianBlur(each[0], (0, 0), 2) for each in heatmaps])[:, None] + heatmaps
    smooth[..., 0] += 1e-3  # what lies to the left is not what lies to the right
    codec = codec_of(blur is not None)
    keypoints, _ = decode(smooth, codec.scale_factor, blur)
    np.testing.assert_allclose(keypoints, HeatmapDecoder(codec)(torch.from_numpy(smooth))[0], atol=1e-2)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_noise_is_decoded_by_quarters_alike(seed, batch):
    heatmaps = np.random.default_rng(seed).normal(-2, 1, (batch, 3, 7, 5)).astype(np.float32)
    codec = MSRAHeatmap(input_size=(10, 21), heatmap_size=(5, 7), sigma=2)
    for mine, theirs in zip(decode(heatmaps, codec.scale_factor, None), HeatmapDecoder(codec)(torch.tensor(heatmaps))):
        assert np.array_equal(mine, theirs)


class Mirror(nn.Module):
    """A model of mmpose whose heatmaps are its image."""

    def __init__(self, shift):
        super().__init__()
        self.test_cfg = dict(flip_test=True, flip_mode='heatmap', shift_heatmap=shift)
        self.head = nn.Identity()
        self.head.decoder = codec_of(unbiased=True)

    def extract_feat(self, image):
        return image


@pytest.mark.parametrize('shift', [True, False])
@pytest.mark.parametrize('flip', [[0, 2, 1], [2, 0, 1]])
def test_the_flip_test_is_that_of_mmpose(shift, flip):
    image = hills(5, batch=4, keypoints=3)
    description = dict(decoding=dict(kind='heatmaps', scale=[4, 4], blur=11, flip=flip, shift=shift))
    decoder = Heatmaps(description, [(3, HEIGHT, WIDTH)])
    ours = decoder(lambda images: [images], dict(image=image))
    for mine, theirs in zip(ours, PoseModel(Mirror(shift), True, flip)(torch.from_numpy(image))):
        np.testing.assert_allclose(mine, theirs, atol=1e-2)


def scattered(count=6):
    rng = np.random.default_rng(1)
    return [cv2.resize(rng.integers(0, 256, (7, 9, 3), np.uint8), (int(width), int(height)))
            for height, width in rng.integers(60, 200, (count, 2))]


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A folder with plans and ONNX files of a model with and without DARK."""
    folder = tmp_path_factory.mktemp('poses')
    _, model = built(CONFIG)
    nn.init.normal_(model.head.final_layer.weight, std=3)  # between pixels DARK divides by the curvature of heatmaps
    torch.save(dict(state_dict=model.state_dict()), folder / 'pose.pth')
    for name, options in (('dark', ()), ('quarter', ('--cfg-options', 'model.head.decoder.unbiased=False')),
                          ('once', ('--cfg-options', 'model.test_cfg.flip_test=False'))):
        for kind in ('plan', 'onnx'):
            assert run(None, CONFIG, folder / 'pose.pth', folder / f'{name}.{kind}', *options) == ''
    return folder


@pytest.mark.parametrize('name', ['dark', 'quarter', 'once'])
def test_keypoints_are_those_of_the_onnx_file(name, exported):
    images, boxes = scattered(), [[5, 3, 50, 58], [10, 0, 40, 20], [-5, -9, 90, 80]]
    theirs = PoseEstimator(exported / f'{name}.onnx')
    for options in (dict(threads=1), dict(batch_size=2), dict(batch_size=5, threads=2)):
        ours = PoseEstimator(exported / f'{name}.plan', **options)
        found, wanted = ([*estimate(images), *estimate(images[0], boxes)] for estimate in (ours, theirs))
        for mine, other in zip(found, wanted, strict=True):
            for person, expected in zip(mine.people, other.people, strict=True):
                largest = np.abs(expected.keypoint_scores).max()
                np.testing.assert_allclose(person.keypoint_scores, expected.keypoint_scores, atol=1e-4 * largest)
                apart = np.abs(person.keypoints - expected.keypoints).max(1)
                assert np.sort(apart)[-2] < 0.05  # where two places are nearly as high, rounding decides


@pytest.mark.parametrize(('name', 'value', 'message'), [
    ('kind', 'offsets', r"ValueError\(\"decoding 'offsets' is none of heatmaps, distributions\"\)"),
    ('kind', ['heatmaps'], 'TypeError'), ('scale', [4.0], r'scale is \[4\.0\]'), ('scale', [4.0, -1], 'scale is'),
    ('scale', 'large', 'ValueError'), ('blur', 10, 'blur is 10'), ('blur', 10**9 + 1, 'blur is'),
    ('blur', 'no', 'blur is'),
    ('flip', [0, 1], r'flip is \[0, 1\]'), ('flip', [*range(16), 99], 'flip is'), ('flip', 7, 'TypeError'),
    ('shift', None, 'shift is None'),
], ids=str)
def test_a_damaged_decoding_is_one_line(name, value, message, exported, tmp_path):
    damaged = exported / f'damaged_{tmp_path.name}.plan'  # beside the library
    damaged.write_bytes(described(exported / 'dark.plan', lambda whole: whole['decoding'].update({name: value})))
    with pytest.raises(PlanError, match=message) as caught:
        PoseEstimator(damaged)
    assert '\n' not in str(caught.value)
    for change in (lambda whole: whole['decoding'].pop(name), lambda whole: whole.update(decoding='heatmaps')):
        damaged.write_bytes(described(exported / 'dark.plan', change))
        with pytest.raises(PlanError, match='says of itself cannot be understood'):
            PoseEstimator(damaged)


def test_decodings_of_poses_that_the_runtime_has_not():
    cfg, model = built(CONFIG)
    model.test_cfg['flip_mode'] = 'offset'
    with pytest.raises(ValueError, match=r"no decoding of flip_mode='offset', only of 'heatmap'; export the maps with "
                                         r'--raw, or an ONNX file\.$'):
        describe_decoding(cfg, 'keypoints', model)
    model.head.decoder = UDPHeatmap(input_size=(128, 176), heatmap_size=(32, 44), sigma=2)
    with pytest.raises(ValueError, match=r'no decoding of UDPHeatmap, only of MSRAHeatmap; export the maps with --raw'):
        describe_decoding(cfg, 'keypoints', model)
    del model.head.decoder
    with pytest.raises(ValueError, match='no decoding of TopdownPoseEstimator, only'):
        describe_decoding(cfg, 'keypoints', model)
