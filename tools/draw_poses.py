#!/usr/bin/env python
"""Draw held-out people: true poses on the left, predicted ones on the right."""
from pathlib import Path

import _process  # noqa: F401
import mmcv
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from micronet_mm.checkpoint.atomic import refuse_to_overwrite
from micronet_mm.engine.cli import config_parser, one_line_errors, read_config
from micronet_mm.engine.preflight import check_files, require


def draw(cfg: Config, checkpoint: str, folder: Path, count: int) -> None:
    """Write ``count`` pictures of the validation set into ``folder``."""
    from mmpose.apis import init_model
    from mmpose.registry import DATASETS, VISUALIZERS
    from mmpose.structures import merge_data_samples
    model = init_model(cfg, checkpoint, device='cpu')
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    visualizer = VISUALIZERS.build(dict(cfg.visualizer, vis_backends=None))
    visualizer.set_dataset_meta(dataset.metainfo)
    people: dict[str, list[int]] = {}
    for index in range(len(dataset)):
        people.setdefault(dataset.get_data_info(index)['img_path'], []).append(index)
    for step, (path, indices) in enumerate(list(people.items())[:count]):
        target = folder / f'pose_{step}.png'
        refuse_to_overwrite(target, path)
        samples = model.test_step(pseudo_collate([dataset[index] for index in indices]))
        visualizer.add_datasample('poses', mmcv.imread(path, channel_order='rgb'), merge_data_samples(samples),
                                  draw_gt=True, draw_bbox=False, kpt_thr=0.2, out_file=str(target))


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('checkpoint', help='checkpoint file')
    parser.add_argument('--out-dir', type=Path, required=True, help='where to write the pictures')
    parser.add_argument('--count', type=int, default=8, help='number of pictures')
    args = parser.parse_args()
    with one_line_errors():
        cfg = read_config(args.config, args.cfg_options)
        check_files(cfg, ['val_dataloader'], [])
        require(args.checkpoint, 'this drawing', 'Name an existing checkpoint.')
    args.out_dir.mkdir(parents=True, exist_ok=True)
    with one_line_errors():
        draw(cfg, args.checkpoint, args.out_dir, args.count)
    print(f'{args.out_dir}: truth on the left, prediction on the right')


if __name__ == '__main__':
    main()
