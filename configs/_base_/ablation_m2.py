# The paper's ablations train MicroNet-M2 for 300 epochs.
_base_ = '../imagenet_micronet_m2.py'

epochs = 300
train_cfg = dict(max_epochs=epochs)
param_scheduler = dict(T_max=epochs, end=epochs)
