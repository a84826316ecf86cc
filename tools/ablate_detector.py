#!/usr/bin/env python
"""What the detector of Micro-Blocks owes to its parts: the demo's, and others in which one of them is another's.

Each is trained by tools/train.py on the generated pictures as configs/demo/micro_det_m3_demo.py is, with the same
budget and several seeds, and evaluated after the last epoch. Trainings that are complete in the work dir are not
repeated. This says how they compare on 2,000 small pictures after some minutes, not on COCO.
"""
from pathlib import Path

import _process  # noqa: F401
from _trainings import arguments, compare, summary
from mmengine.config import Config

from micronet_mm.analysis.from_config import count_config
from micronet_mm.engine.cli import one_line_errors

CONFIGS = Path(__file__).resolve().parents[1] / 'configs'
SIZE = (160, 160)
DEMO = 'demo/micro_det_m3_demo'
TABLES = {
    'blocks': {
        DEMO: 'Micro-Blocks: Dynamic Shift-Max in the pyramid, ReLU6 in the head',
        'ablation/micro_det_dynamic_head': 'Micro-Blocks: Dynamic Shift-Max in both',
        'ablation/micro_det_relu6': 'Micro-Blocks: ReLU6 in both',
        'ablation/micro_det_separable': 'depthwise separable convolutions in both',
    },
    'heads': {
        DEMO: "MicroDetHead: GFL's, of Micro-Blocks",
        'ablation/micro_det_gfl': "GFL's own, of dense convolutions",
        'ablation/micro_det_rtmdet': "RTMDet's own, of dense convolutions",
        'ablation/micro_det_yolox': "YOLOX's own, of dense convolutions",
    },
    'statistics': {
        DEMO: 'stand still in the last fifth',
        'ablation/micro_det_running_statistics': 'run to the end',
    },
}


def config(name: str, epochs: int, seed: int) -> Config:
    """A variant with another budget and seed."""
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.merge_from_dict({
        'train_cfg.max_epochs': epochs, 'train_cfg.val_interval': epochs, 'param_scheduler.1.end': epochs,
        'randomness.seed': seed, 'default_hooks.visualization.draw': False})
    return cfg


def main() -> None:
    parser = arguments(__doc__, Path('work_dirs/ablation'), epochs=3)
    parser.add_argument('table', choices=TABLES,
                        help='what is exchanged: the blocks of pyramid and head, the head, or the statistics of BN')
    args = parser.parse_args()
    variants = TABLES[args.table]
    header = ['detector', 'multiply-adds', 'AP, mean (spread)', 'of each seed', 'AP50']

    def cells(name: str, found: list[dict]) -> list[str]:
        ap, ap50 = ([metrics[f'coco/{key}'] for metrics in found] for key in ('bbox_mAP', 'bbox_mAP_50'))
        madds = count_config(Config.fromfile(CONFIGS / f'{name}.py'), SIZE).total.madds
        return [variants[name], f'{madds / 1e6:.1f}M', summary(ap, 3), ', '.join(f'{each:.3f}' for each in ap),
                summary(ap50, 3)]

    compare(args, header, {name: lambda seed, name=name: config(name, args.epochs, seed) for name in variants}, cells,
            f'{args.table}.md')


if __name__ == '__main__':
    with one_line_errors():
        main()
