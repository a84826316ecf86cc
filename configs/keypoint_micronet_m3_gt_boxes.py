# The same, evaluated on the annotated boxes: no file of detected people is needed.
_base_ = './_base_/keypoint.py'

val_dataloader = dict(dataset=dict(bbox_file=None))
test_dataloader = val_dataloader
