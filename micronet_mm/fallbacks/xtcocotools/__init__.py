"""In the place of xtcocotools: what mmpose needs of it for COCO keypoints, on pycocotools."""
