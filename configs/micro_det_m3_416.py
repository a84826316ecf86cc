# micro_det_m3 at 416 x 416, for smaller objects at 1.7 times the cost.
_base_ = './micro_det_m3.py'

# A box reaches at most reg_max * 32 pixels from a place within it to each side.
model = dict(bbox_head=dict(reg_max=10))

square = dict(scale=(416, 416))
train_pipeline = _base_.train_pipeline
test_pipeline = _base_.test_pipeline
train_pipeline[2].scale = test_pipeline[1].scale = square['scale']
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
