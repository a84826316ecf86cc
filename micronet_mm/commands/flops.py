"""Parameters and multiply-adds of a config's model, in all, by part and by kind of layer.

Counts convolutions, linear layers and Dynamic Shift-Max as the paper does; normalization, pooling and plain activations
are free.
"""
from contextlib import suppress

from mmengine.config import Config

from micronet_mm.analysis import Cost
from micronet_mm.analysis.from_config import SHAPES, count_config
from micronet_mm.deploy.assemble import default_size
from micronet_mm.engine.cli import config_parser, one_line_errors, read_config


def print_costs(title: str, costs: dict[str, Cost], total: Cost) -> None:
    print(f'\n{title:28}{"parameters":>14}{"multiply-adds":>18}')
    for name, cost in costs.items():
        print(f'  {name:26}{cost.params:14,}{cost.madds:18,}{cost.madds / max(1, total.madds):8.1%}')


def usual_size(cfg: Config) -> tuple[int, int]:
    """Height and width of a test image, or of those that the literature counts with where a config does not say."""
    with suppress(ValueError):
        if size := default_size(cfg):
            return size
    return SHAPES.get(cfg.get('default_scope'), (224, 224))


def main() -> None:
    parser = config_parser(__doc__)
    parser.add_argument('--shape', type=int, nargs=2, metavar=('H', 'W'),
                        help='input size (default: what the test pipeline gives every image; where that varies, '
                             '800 1333 for a detector)')
    args = parser.parse_args()
    with one_line_errors():
        cfg = read_config(args.config, args.cfg_options)
        height, width = args.shape or usual_size(cfg)
        cost = count_config(cfg, (height, width))
    print(f'{args.config} at {height} x {width}: {cost.total.params:,} parameters, {cost.total.madds:,} multiply-adds')
    print_costs('part', cost.by_part(), cost.total)
    print_costs('kind of layer', cost.by_kind(), cost.total)
