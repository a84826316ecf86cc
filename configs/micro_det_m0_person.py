# micro_det_m0 for people alone, to stand in front of a keypoint model.
_base_ = './micro_det_m0.py'

model = dict(bbox_head=dict(num_classes=1))
people = dict(metainfo=dict(classes=('person', )))
train_dataloader = dict(dataset=people)
val_dataloader = dict(dataset=people)
test_dataloader = val_dataloader
