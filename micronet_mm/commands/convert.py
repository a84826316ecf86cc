"""Turn a released MicroNet, the authors' .pth or PaddleClas's .pdparams, into an MMEngine checkpoint.

The network (M0 to M3) is found from the tensors.
"""
import argparse
import sys

from micronet_mm.checkpoint import CheckpointError, convert_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', metavar='SRC', help='released checkpoint')
    parser.add_argument('target', metavar='DST', help='MMEngine checkpoint to write, .pth or .safetensors')
    args = parser.parse_args()
    try:
        arch, sha256 = convert_checkpoint(args.source, args.target)
    except (OSError, ValueError, CheckpointError) as error:
        sys.exit(f'error: {error}')
    print(f'{args.target}: MicroNet-{arch.upper()}, SHA-256 {sha256}, for '
          f"init_cfg=dict(type='Pretrained', checkpoint='{args.target}', prefix='backbone.')")
