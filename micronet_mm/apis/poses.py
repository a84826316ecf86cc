"""People and their poses in pictures and videos: our detector and our keypoint model, one behind the other."""
import logging
import mimetypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Optional, Union

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import MODELS, DefaultScope
from mmpose.apis import Pose2DInferencer
from mmpose.models import TopdownPoseEstimator
from mmpose.utils import register_all_modules

from micronet_mm.checkpoint import allow_named, check_fits
from micronet_mm.checkpoint.atomic import make_folder, refuse_to_overwrite
from micronet_mm.datasets import LoadImageOrSkip
from micronet_mm.engine.checks.paths import find_dicts, require
from micronet_mm.engine.cli import read_config
from micronet_mm.validation import FILE, FRACTION, check, integer, optional
from micronet_runtime.errors import InputError
from micronet_runtime.shown import shown
from micronet_runtime.sources import VIDEOS, Input, is_camera, list_inputs, name_of, read_inputs
from micronet_runtime.writing import CODECS, Film

Source = Union[str, Path, np.ndarray, list]
COLOURS = ('.bmp', '.jpeg', '.jpg', '.png', '.ppm', '.tif', '.tiff', '.webp')  # files that OpenCV writes colours to
KINDS = dict(detector=FILE, detector_weights=FILE, pose=FILE, pose_weights=FILE, out_dir=optional(FILE),
             person=integer(0), box_threshold=FRACTION, keypoint_threshold=FRACTION)

for suffix in VIDEOS:  # mmpose knows a video by the system's list, which differs from machine to machine
    if not (mimetypes.guess_type(f'video{suffix}')[0] or '').startswith('video/'):
        mimetypes.add_type(f'video/{suffix[1:]}', suffix)


class PeopleInferencer(Pose2DInferencer):
    """mmpose's Pose2DInferencer that finds nobody where there is nobody.

    Where the detector finds no person, mmpose takes the whole picture for one. In an image more than 64 times as long
    as wide nobody is looked for. Arguments and calls are those of :class:`mmpose.apis.Pose2DInferencer`; call it
    with ``bbox_thr``.
    """

    def preprocess_single(self, input: Any, index: int, bbox_thr: float = 0.3, **kwargs: Any) -> list[dict]:
        detector, detections = self.detector, []
        if detector is None:
            return super().preprocess_single(input, index, bbox_thr=bbox_thr, **kwargs)
        sides = mmcv.imread(input).shape[:2]
        thin = max(sides) > 64 * min(sides)  # resizing may leave a side of no pixels
        try:  # mmpose does not say what its detector found
            self.detector = None if thin else (
                lambda *args, **options: detections.append(detector(*args, **options)) or detections[-1])
            people = super().preprocess_single(input, index, bbox_thr=bbox_thr, **kwargs)
        finally:
            self.detector = detector
        found = [result['predictions'][0].pred_instances.cpu().numpy() for result in detections]
        if not any(np.any(np.isin(f.labels, self.det_cat_ids) & (f.scores > bbox_thr)) for f in found):
            boxes = people[0]['data_samples'].gt_instances
            boxes.bbox_scores = np.full_like(boxes.bbox_scores, np.nan)  # which no score is
        return people

    def forward(self, *args: Any, **kwargs: Any) -> list:
        samples = super().forward(*args, **kwargs)
        for sample in samples:
            sample.pred_instances = sample.pred_instances[~np.isnan(sample.pred_instances.bbox_scores)]
        return samples


def find_poses(source: Source,
               detector: str,
               detector_weights: str,
               pose: str,
               pose_weights: str,
               out_dir: Optional[str] = None,
               person: int = 0,
               box_threshold: float = 0.3,
               keypoint_threshold: float = 0.3,
               device: Optional[str] = None,
               checking: Callable[[], AbstractContextManager] = nullcontext,
               faults: Optional[list[str]] = None) -> list[dict]:
    """Find people and their keypoints.

    Args:
        source: an image (a path, or an array of shape (H, W, 3) in BGR), a video, a folder of images, or a list of
            these. What a folder holds besides images is passed over; an image that cannot be read is logged and left
            out.
        detector: config of a detector of mmdet, such as ours.
        detector_weights: its checkpoint.
        pose: config of a top-down keypoint model of mmpose, such as ours.
        pose_weights: its checkpoint.
        out_dir: where to draw people and skeletons, in files of the same names (with .png behind those that hold no
            colours, such as .pgm).
        person: label of people in the detector.
        box_threshold: score above which a detection counts.
        keypoint_threshold: score above which a keypoint is drawn.
        device: such as 'cuda:0'; by default what there is.
        checking: makes the context in which what was given is checked, so that a program can tell its user's mistakes
            from other errors.
        faults: gets a line for each video of which not all frames could be read, or that could not be drawn.

    Returns:
        For each image or frame, sorted within a folder, a dict of 'image' (its path, or its place in the list if it is
        an array), 'frame' (of videos only, from 0) and 'people': a list, empty where nobody is, of dicts with 'bbox'
        (x1, y1, x2, y2 in pixels), 'bbox_score', 'keypoints' (K pairs x, y in pixels) and 'keypoint_scores'.

    Raises:
        FileNotFoundError: if the source, a config or a checkpoint does not exist.
        ValueError: if a model is not of its kind, a checkpoint is that of another model, a number or the device is
            none that can be, no image can be read, or a drawing would replace what it is drawn on or another drawing.
        CheckpointError: if a checkpoint cannot be read.
    """
    register_all_modules(init_default_scope=False)
    faults = [] if faults is None else faults
    with checking():
        check('find_poses', KINDS, dict(
            detector=detector, detector_weights=detector_weights, pose=pose, pose_weights=pose_weights, out_dir=out_dir,
            person=person, box_threshold=box_threshold, keypoint_threshold=keypoint_threshold))
        check_device(device)
        inputs = list_pictures(source)
        models = check_models(detector, pose, person)
        detector, pose = (cfg.filename for cfg in models)  # of what comes with the package a name may be given
        for weights in (detector_weights, pose_weights):
            require(weights, 'finding poses', 'Name an existing checkpoint.')
        if out_dir:
            check_drawings(inputs, out_dir)
            make_folder(out_dir)
    for cfg, weights in zip(models, (detector_weights, pose_weights)):
        with DefaultScope.overwrite_default_scope(cfg.get('default_scope')):
            model = MODELS.build(cfg.model)
        with checking():
            check_fits(model, weights)
    infer = PeopleInferencer(pose, pose_weights, device, det_model=detector, det_weights=detector_weights,
                             det_cat_ids=[person])
    found = [result for each in inputs for result in
             find_in(each.name, each.given, infer, out_dir, faults, bbox_thr=box_threshold, kpt_thr=keypoint_threshold)]
    with checking():
        if not found:
            raise ValueError(f'{name_of(source)} holds no image that can be read; see the warnings above.')
    return found


def find_in(name: Union[str, int], image: Union[str, np.ndarray], infer: PeopleInferencer, out_dir: Optional[str],
            faults: list[str], **thresholds: float) -> Iterator[dict]:
    """The result of an image, those of a video's frames, or none and a warning for what cannot be read."""
    options = dict(thresholds, draw_bbox=True)
    if is_video(image):
        film = Film(Path(out_dir) / drawing_of(name)) if out_dir else None
        yield from find_in_video(name, image, infer, film, faults, options)
        return
    if isinstance(image, str):
        image = (LoadImageOrSkip().transform(dict(img_path=image)) or {}).get('img')
    if image is not None:
        result, = infer([image], return_vis=bool(out_dir), **options)
        if out_dir:
            mmcv.imwrite(mmcv.rgb2bgr(result['visualization'][0]), str(Path(out_dir) / drawing_of(name)))
        yield dict(image=name, people=people_of(result))


def find_in_video(name: Union[str, int], video: str, infer: PeopleInferencer, film: Optional[Film], faults: list[str],
                  options: dict) -> Iterator[dict]:
    """The results of a video's frames. What is found is worth more than its drawing, which may fail."""
    try:
        for frame in read_inputs([Input(name, str(video))], video, faults):
            result, = infer([frame.pixels], return_vis=film is not None, **options)
            yield dict(image=name, frame=frame.frame, people=people_of(result))
            if film is not None:
                try:
                    film.add(frame, mmcv.rgb2bgr(result['visualization'][0]))
                except InputError as error:
                    faults.append(str(error).partition(';')[0])
                    film = None
    except InputError:
        print_log(f'the video {name} cannot be decoded and is skipped', 'current', logging.WARNING)
    try:
        if film is not None:
            film.close(None, None, None)
    except InputError as error:
        faults.append(str(error).partition(';')[0])


def list_pictures(source: Source) -> list[Input]:
    """What to look at.

    Raises:
        FileNotFoundError: if there is no such file, or it is a camera.
        ValueError: if there is no image, or an array is none.
    """
    for given in source if isinstance(source, (list, tuple)) else [source]:
        if is_camera(given) or (isinstance(given, str) and given.isdigit() and not Path(given).exists()):
            raise FileNotFoundError(f'{shown(given)} does not exist; name an image, a video or a folder of images. '
                                    'Cameras are for python -m micronet_runtime, with --camera.')
    return list_inputs(source)


def is_video(file: Union[str, Path, np.ndarray]) -> bool:
    return isinstance(file, (str, Path)) and Path(file).suffix.lower() in VIDEOS


def check_device(device: Optional[str]) -> None:
    """Raise ValueError unless the device holds tensors."""
    try:
        torch.zeros(1, device=device).cpu()
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(f"the device {shown(device)} cannot be used ({str(error).splitlines()[0]}); name one that is "
                         "there, such as 'cpu' or 'cuda:0'.") from None


def check_models(detector: str, pose: str, person: int) -> tuple[Config, Config]:
    """The two configs, if each is of its kind and the detector knows the label; ValueError otherwise."""
    from mmdet.models import BaseDetector
    configs = read_config(detector), read_config(pose)
    check_kind(configs[0], detector, BaseDetector, 'detector of mmdet', ['test_dataloader'])
    check_kind(configs[1], pose, TopdownPoseEstimator, 'top-down keypoint model of mmpose',
               ['test_dataloader', 'dataset_type', 'data_mode'])
    counts = [part['num_classes'] or 0 for part in find_dicts(configs[0].model, 'num_classes')]
    classes = max(counts, default=person + 1)
    if not 0 <= person < classes:
        raise ValueError(f'{person} is no label of the detector {detector}, whose {classes} classes are 0 to '
                         f'{classes - 1}; give the one of people.')
    dataset = configs[0].test_dataloader.get('dataset') or {}
    names = (dataset.get('metainfo') or {}).get('classes') or ()
    if not isinstance(names, str) and person < len(names) and names[person] != 'person':
        print_log(f'label {person} of the detector {detector} is {shown(names[person])}: that is what people are '
                  'looked for under; another label can be given as person.', 'current', logging.WARNING)
    return configs


def check_kind(cfg: Config, path: str, base: type, name: str, keys: list[str]) -> None:
    """Raise ValueError unless the model of the config in ``path`` is a ``base``, and ``keys`` are there."""
    allow_named(cfg.get('safe_globals') or [])
    kind = (cfg.get('model') or {}).get('type')
    with MODELS.switch_scope_and_registry(cfg.get('default_scope')) as registry:
        found = registry.get(kind) if isinstance(kind, str) else kind
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f'{path} is the config of a model of type {kind}, which is no {name}; give that of one, and '
                         'each config in its own place.')
    missing = [key for key in keys if key not in cfg]
    if missing:
        raise ValueError(f'{path} lacks {", ".join(missing)}, which a {name} needs here; give a full config, such as '
                         'those in configs/.')


def check_drawings(inputs: list[Input], out_dir: str) -> None:
    """Raise ValueError if two drawings would have one name, or one that of the picture it is drawn on."""
    by_name: dict[str, Union[str, int]] = {}
    for name in (each.name for each in inputs):
        drawing = drawing_of(name)
        if isinstance(name, str):
            refuse_to_overwrite(Path(out_dir) / drawing, name)
        if drawing in by_name:
            raise ValueError(f'{by_name[drawing]} and {name} would be drawn in one file, {Path(out_dir) / drawing}; '
                             'give one folder of pictures at a time.')
        by_name[drawing] = name


def drawing_of(name: Union[str, int]) -> str:
    """What the file is called in which an input is drawn."""
    file = Path(f'{name:06}.jpg' if isinstance(name, int) else name)
    if is_video(file):
        return file.name if file.suffix in CODECS else f'{file.name}.mp4'
    return file.name if file.suffix.lower() in COLOURS else f'{file.name}.png'


def people_of(result: dict) -> list[dict]:
    """The people as mmpose splits them, each with its box as a flat tuple."""
    return [dict(person, bbox=tuple(float(value) for value in np.ravel(person['bbox'])),
                 bbox_score=float(person['bbox_score'])) for person in result['predictions'][0]]
