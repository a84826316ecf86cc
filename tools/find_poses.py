#!/usr/bin/env python
"""Find people with a detector and draw their poses: in an image, a folder of images or a video."""
import argparse
import json
from pathlib import Path

import _process  # noqa: F401

from micronet_mm.checkpoint.atomic import refuse_to_overwrite, write_text_atomically
from micronet_mm.engine.cli import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='image, folder or video')
    parser.add_argument('--detector', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'))
    parser.add_argument('--pose', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'))
    parser.add_argument('--out-dir', required=True, help='where to draw, in files of the same names')
    parser.add_argument('--json', type=Path, metavar='FILE', help='also write boxes and keypoints there')
    parser.add_argument('--person', type=int, default=0, help="label of people in the detector (default: 0, COCO's)")
    parser.add_argument('--box-threshold', type=float, default=0.3)
    parser.add_argument('--keypoint-threshold', type=float, default=0.3)
    parser.add_argument('--device', help="such as 'cuda:0'; by default what there is")
    args = parser.parse_args()
    with one_line_errors():
        for path in [args.out_dir, args.json]:
            if path:
                refuse_to_overwrite(path, args.source, *args.detector, *args.pose)
        from micronet_mm.inference import find_poses
        found = find_poses(args.source, *args.detector, *args.pose, out_dir=args.out_dir, person=args.person,
                           box_threshold=args.box_threshold, keypoint_threshold=args.keypoint_threshold,
                           device=args.device)
    if args.json:
        write_text_atomically(json.dumps(found), args.json)
    print(f'{sum(map(len, found))} people in {len(found)} images, drawn in {args.out_dir}')


if __name__ == '__main__':
    main()
