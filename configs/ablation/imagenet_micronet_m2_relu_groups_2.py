# Table 3a: G = 2 in all pointwise convolutions.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), groups=2, width=0.56, last_channels=344), head=dict(in_channels=344))
