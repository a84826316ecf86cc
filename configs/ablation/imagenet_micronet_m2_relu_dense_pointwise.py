# Table 2: micro-factorized depthwise convolutions, dense pointwise ones, no lite combination.
_base_ = '../_base_/ablation_m2.py'

model = dict(
    backbone=dict(dynamic=(0, 0, 0), lite='nowhere', groups=1, width=0.19, last_channels=616),
    head=dict(in_channels=616))
