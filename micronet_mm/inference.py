"""People and their poses in pictures and videos: our detector and our keypoint model, one behind the other."""
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
from mmpose.apis import Pose2DInferencer
from mmpose.utils import register_all_modules

from micronet_mm.checkpoint.atomic import refuse_to_overwrite

Source = Union[str, Path, np.ndarray, list]


class PeopleInferencer(Pose2DInferencer):
    """mmpose's Pose2DInferencer that finds nobody where there is nobody.

    Where the detector finds no person, mmpose takes the whole picture for one. Arguments and calls are those of
    :class:`mmpose.apis.Pose2DInferencer`; call it with ``bbox_thr``.
    """

    def preprocess_single(self, input: Any, index: int, bbox_thr: float = 0.3, **kwargs: Any) -> list[dict]:
        detector, detections = self.detector, []
        if detector is None:
            return super().preprocess_single(input, index, bbox_thr=bbox_thr, **kwargs)
        try:  # mmpose does not say what its detector found
            self.detector = lambda *args, **options: detections.append(detector(*args, **options)) or detections[-1]
            people = super().preprocess_single(input, index, bbox_thr=bbox_thr, **kwargs)
        finally:
            self.detector = detector
        found = detections[-1]['predictions'][0].pred_instances.cpu().numpy()
        if not np.any(np.isin(found.labels, self.det_cat_ids) & (found.scores > bbox_thr)):
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
               device: Optional[str] = None) -> list[list[dict]]:
    """Find people and their keypoints.

    Args:
        source: an image (a path, or an array of shape (H, W, 3) in BGR), a folder of images, a video, or a list of
            images.
        detector: config of a detector of mmdet, such as ours.
        detector_weights: its checkpoint.
        pose: config of a top-down keypoint model of mmpose, such as ours.
        pose_weights: its checkpoint.
        out_dir: where to draw people and skeletons, in files of the same names.
        person: label of people in the detector.
        box_threshold: score above which a detection counts.
        keypoint_threshold: score above which a keypoint is drawn.
        device: such as 'cuda:0'; by default what there is.

    Returns:
        For each image or frame a list of people, each with 'bbox' (x1, y1, x2, y2 in pixels), 'bbox_score',
        'keypoints' (K pairs x, y in pixels) and 'keypoint_scores'; an empty list where nobody is.

    Raises:
        FileNotFoundError: if the source, a config or a checkpoint does not exist.
        ValueError: if the folder holds no image, or a drawing would replace what it is drawn on or another drawing.
    """
    for path in (detector, detector_weights, pose, pose_weights, source):
        if isinstance(path, (str, Path)) and '://' not in str(path) and not Path(path).exists():
            raise FileNotFoundError(f'{path} does not exist.')
    if out_dir:
        check_drawings(source, out_dir)
    register_all_modules(init_default_scope=False)
    infer = PeopleInferencer(pose, pose_weights, device, det_model=detector, det_weights=detector_weights,
                             det_cat_ids=[person])
    source = str(source) if isinstance(source, Path) else source
    results = infer(source, vis_out_dir=out_dir or '', draw_bbox=True, bbox_thr=box_threshold,
                    kpt_thr=keypoint_threshold)
    found = [[named(instance) for instance in result['predictions'][0]] for result in results]
    if not found:
        raise ValueError(f'{source} holds no image that can be read.')
    return found


def check_drawings(source: Source, out_dir: str) -> None:
    """Raise ValueError if two drawings would have one name, or one that of the picture it is drawn on."""
    given = source if isinstance(source, list) else [source]
    files = [path for path in given if isinstance(path, (str, Path))]
    files = [file for path in files for file in (Path(path).iterdir() if Path(path).is_dir() else [Path(path)])]
    by_name: dict[str, Path] = {}
    for file in files:
        refuse_to_overwrite(Path(out_dir) / file.name, file)
        if file.name in by_name:
            raise ValueError(f'{by_name[file.name]} and {file} would be drawn in one file, '
                             f'{Path(out_dir) / file.name}; give one folder of pictures at a time.')
        by_name[file.name] = file


def named(instance: dict) -> dict:
    """One person as mmpose splits it, with its box as a flat tuple."""
    return dict(instance, bbox=tuple(float(value) for value in np.ravel(instance['bbox'])),
                bbox_score=float(instance['bbox_score']))
