# Table 3a: G = 8 in all pointwise convolutions; 4 or 7 where 8 does not divide the channels.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), groups=8, width=1.1, last_channels=616), head=dict(in_channels=616))
