"""Evaluate an exported model with the data and metrics of a config, for the same numbers as ``tools/test.py``."""
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.registry import DATASETS, init_default_scope

Sample = dict[str, Any]
ReadFrame = Callable[[str], Any]


def evaluate(cfg: Config, task: str, predictor: Any, read: ReadFrame) -> dict[str, float]:
    """Return the metrics of a predictor on the config's test set.

    Args:
        cfg: config of mmpretrain, mmdet or mmpose.
        task: 'classification', 'detection' or 'keypoints'.
        predictor: predictor of ``micronet_runtime``, or an object with the same interface.
        read: converts the path of an image to the predictor's input.

    Raises:
        ValueError: if the file's classes are not the dataset's, or the test set is empty.
    """
    if not cfg.get('test_dataloader') or not cfg.get('test_evaluator'):
        raise ValueError('the config has no test_dataloader or no test_evaluator, so there is nothing to evaluate on.')
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    # Images are read and prepared by the predictor, so nothing is left for a pipeline.
    dataset = DATASETS.build({**cfg.test_dataloader.dataset, 'pipeline': [], 'test_mode': True})
    if not len(dataset):
        raise ValueError('the test set of the config is empty; see test_dataloader.')
    check_classes(predictor.model.metadata.classes, dataset.metainfo.get('classes'))
    evaluator = Evaluator(cfg.test_evaluator)
    evaluator.dataset_meta = dataset.metainfo
    samples = dict(classification=classified, detection=detected, keypoints=posed)[task]
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    try:
        for sample in samples(infos, predictor, read):
            evaluator.process([sample])
        return evaluator.evaluate(len(dataset))
    except KeyError as error:
        raise ValueError(f'the test_evaluator of the config asks for {error}, which an exported file or its dataset '
                         'does not give; boxes, classes and COCO keypoints can be evaluated.') from error


def check_classes(ours: Iterable[str], theirs: Any) -> None:
    """Raise if the file and the dataset give a label different names; skip if either has no names."""
    ours, theirs = list(map(str, ours)), list(map(str, theirs or []))
    if ours and theirs and ours != theirs:
        wrong = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        names = [repr(names[wrong]) if wrong < len(names) else 'nothing' for names in (ours, theirs)]
        raise ValueError(f"the file's {len(ours)} classes are not the {len(theirs)} of the test set: label {wrong} is "
                         f'{names[0]} in the file and {names[1]} there; name the config that the file was exported '
                         'with.')


def classified(infos: Iterator[Sample], predictor: Any, read: ReadFrame) -> Iterator[Sample]:
    for info, result in paired(infos, predictor, read):
        yield dict(pred_score=torch.from_numpy(result.scores), pred_label=torch.tensor([result.label]),
                   gt_label=torch.as_tensor(info['gt_label']).reshape(-1))


def detected(infos: Iterator[Sample], predictor: Any, read: ReadFrame) -> Iterator[Sample]:
    for info, result in paired(infos, predictor, read):
        found = dict(bboxes=result.boxes, scores=result.scores, labels=result.labels)
        yield dict(img_id=info['img_id'], ori_shape=(info['height'], info['width']), instances=info['instances'],
                   pred_instances={name: torch.from_numpy(np.ascontiguousarray(value))
                                   for name, value in found.items()})


def paired(infos: Iterator[Sample], predictor: Any, read: ReadFrame) -> Iterator[tuple[Sample, Any]]:
    """What the dataset knows of each image, and what the predictor finds there."""
    waiting: list[Sample] = []

    def frames() -> Iterator[Any]:
        for info in infos:
            waiting.append(info)
            yield read(info['img_path'])

    for _, result in predictor.predict(frames()):
        yield waiting.pop(0), result


def posed(infos: Iterator[Sample], predictor: Any, read: ReadFrame) -> Iterator[Sample]:
    """Of each box that the dataset gives, annotated or detected; one person and then the next."""
    from mmpose.datasets.transforms import TopdownAffine
    from mmpose.structures.bbox import bbox_xyxy2cs
    height, width = predictor.size
    for path, group in groupby(infos, lambda info: info['img_path']):
        people = list(group)
        boxes, scores = (np.concatenate([info[name] for info in people]) for name in ('bbox', 'bbox_score'))
        frame = read(path)
        extents = TopdownAffine._fix_aspect_ratio(bbox_xyxy2cs(boxes, padding=predictor.padding)[1], width / height)
        for index, (info, person) in enumerate(zip(people, predictor.people(frame, boxes, scores).people)):
            this = slice(index, index + 1)
            # Metrics weigh overlaps by the size of crops, and sort people by the score of their boxes.
            truth = dict(bbox_scores=scores[this], bbox_scales=extents[this])
            found = dict(keypoints=person.keypoints[None], keypoint_scores=person.keypoint_scores[None],
                         bboxes=boxes[this], bbox_scores=scores[this])
            yield {**{name: info[name] for name in ('id', 'img_id', 'category_id', 'raw_ann_info', 'crowd_index')
                      if name in info}, 'ori_shape': frame.pixels.shape[:2], 'gt_instances': truth,
                   'pred_instances': found}
