"""Find people with a detector and draw their poses: in an image, a folder of images or a video."""
import argparse
import json
import sys
from pathlib import Path

from micronet_mm.checkpoint.atomic import make_folder_of, refuse_to_overwrite, write_text_atomically
from micronet_mm.engine.cli import one_line_errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('source', help='image, folder or video')
    parser.add_argument('--detector', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'))
    parser.add_argument('--pose', nargs=2, required=True, metavar=('CONFIG', 'CHECKPOINT'))
    parser.add_argument('--out-dir', required=True, help='where to draw, in files of the same names')
    parser.add_argument('--json', type=Path, metavar='FILE',
                        help="also write there a list of dicts of 'image', 'frame' (of a video) and 'people'")
    parser.add_argument('--person', type=int, default=0, help="label of people in the detector (default: 0, COCO's)")
    parser.add_argument('--box-threshold', type=float, default=0.3)
    parser.add_argument('--keypoint-threshold', type=float, default=0.3)
    parser.add_argument('--device', help="such as 'cuda:0'; by default what there is")
    args = parser.parse_args()
    with one_line_errors():
        from micronet_mm.apis.poses import find_poses, list_pictures
        if args.json:
            pictures = [each.name for each in list_pictures(args.source)]
            refuse_to_overwrite(args.json, *args.detector, *args.pose, *pictures)
            make_folder_of(args.json)
    faults: list[str] = []
    found = find_poses(args.source, *args.detector, *args.pose, out_dir=args.out_dir, person=args.person,
                       box_threshold=args.box_threshold, keypoint_threshold=args.keypoint_threshold,
                       device=args.device, checking=one_line_errors, faults=faults)
    if args.json:
        write_text_atomically(json.dumps(found), args.json)
    print(f'{sum(len(each["people"]) for each in found)} people in {len(found)} images, drawn in {args.out_dir}')
    if faults:
        sys.exit(f'error: {"; ".join(faults)}. What was found before that is written.')
