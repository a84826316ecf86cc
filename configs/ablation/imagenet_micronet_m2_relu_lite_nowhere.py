# Tables 2 and 3c: both convolutions micro-factorized, no lite combination.
_base_ = '../_base_/ablation_m2.py'

model = dict(
    backbone=dict(dynamic=(0, 0, 0), lite='nowhere', width=0.91, last_channels=576),
    head=dict(in_channels=576))
