"""Turn a released MicroNet .pth into an MMEngine checkpoint; the network (M0 to M3) is found from the tensors."""
import argparse
import sys

from micronet_mm.checkpoint import convert_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='SRC', help='released checkpoint')
    parser.add_argument('target', metavar='DST', help='MMEngine checkpoint to write')
    args = parser.parse_args()
    try:
        arch = convert_checkpoint(args.source, args.target)
    except (OSError, ValueError) as error:
        sys.exit(f'error: {error}')
    print(f'{args.target}: MicroNet-{arch.upper()}, for '
          f"init_cfg=dict(type='Pretrained', checkpoint='{args.target}', prefix='backbone.')")
