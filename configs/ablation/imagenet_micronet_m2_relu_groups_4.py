# Table 3a: G = 4 in all pointwise convolutions.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), groups=4, width=0.82, last_channels=608), head=dict(in_channels=608))
