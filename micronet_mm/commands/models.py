"""List the models and the weights that are part of the package."""
import argparse

from micronet_mm.checkpoint.bundled import SCHEME, bundled_weights
from micronet_mm.hub import list_models

COLUMNS = '{:30}{:>7}{:>7}{:>10}{:>8}  {}'


def table() -> str:
    """Return the bundled weights as lines of text."""
    lines = [COLUMNS.format('weights', 'top-1', 'top-5', 'input', 'classes', 'data set and license')]
    for row in bundled_weights().values():
        size = 'x'.join(map(str, row.input_size[1:]))
        lines.append(COLUMNS.format(row.name, f'{row.top1:.2f}', f'{row.top5:.2f}', size, row.num_classes,
                                    f'{row.dataset} ({row.license})'))
    return '\n'.join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    print(f'models: {", ".join(list_models())}\n\n{table()}\n')
    print(f"Use micronet_mm.create_model('NAME', pretrained=True), or {SCHEME}NAME as a checkpoint in configs and "
          'commands.\nIf you have the released ImageNet weights, prefer them (micronet-mm convert). The difference has '
          'not been measured.')
