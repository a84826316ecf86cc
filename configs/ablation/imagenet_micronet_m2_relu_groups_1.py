# Table 3a: dense pointwise convolutions, G = 1.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), groups=1, width=0.41, last_channels=224), head=dict(in_channels=224))
