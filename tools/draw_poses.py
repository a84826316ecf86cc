#!/usr/bin/env python
"""Draw held-out people: true poses on the left, predicted ones on the right."""
from pathlib import Path

import _process  # noqa: F401
import mmcv
from mmengine.dataset import BaseDataset, pseudo_collate

from micronet_mm.checkpoint import check_fits
from micronet_mm.checkpoint.atomic import make_folder, refuse_to_overwrite
from micronet_mm.engine.checks.paths import check_files, require
from micronet_mm.engine.cli import config_parser, one_line_errors, read_config
from micronet_mm.validation import COUNT


def people_by_picture(dataset: BaseDataset) -> dict[str, list[int]]:
    """Path of each picture -> where in the dataset its people are."""
    people: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        people.setdefault(dataset.get_data_info(index)['img_path'], []).append(index)
    return people


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', type=Path, required=True, help='where to write the pictures')
    parser.add_argument('--count', type=COUNT, default=8, help='number of pictures')
    args = parser.parse_args()
    with one_line_errors():
        cfg = read_config(args.config, args.cfg_options)
        from mmpose.apis import init_model
        from mmpose.models import TopdownPoseEstimator
        from mmpose.registry import DATASETS, VISUALIZERS
        from mmpose.structures import merge_data_samples

        from micronet_mm.apis.poses import check_kind
        check_kind(cfg, args.config, TopdownPoseEstimator, 'top-down keypoint model of mmpose',
                   ['val_dataloader', 'visualizer'])
        check_files(cfg, ['val_dataloader'], [])
        require(args.checkpoint, 'this drawing', 'Name an existing checkpoint.')
    model = init_model(cfg, device='cpu')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    pictures = list(people_by_picture(dataset).items())[:args.count]
    targets = [args.out_dir / f'pose_{step}.png' for step in range(len(pictures))]
    with one_line_errors():
        check_fits(model, args.checkpoint)
        make_folder(args.out_dir)
        for target, (path, _) in zip(targets, pictures):
            refuse_to_overwrite(target, path)
    model = init_model(cfg, args.checkpoint, device='cpu')
    visualizer = VISUALIZERS.build(dict(cfg.visualizer, vis_backends=None))
    visualizer.set_dataset_meta(dataset.metainfo)
    for target, (path, indices) in zip(targets, pictures):
        samples = model.test_step(pseudo_collate([dataset[index] for index in indices]))
        visualizer.add_datasample('poses', mmcv.imread(path, channel_order='rgb'), merge_data_samples(samples),
                                  draw_gt=True, draw_bbox=False, kpt_thr=0.2, out_file=str(target))
    print(f'{args.out_dir}: truth on the left, prediction on the right')


if __name__ == '__main__':
    main()
