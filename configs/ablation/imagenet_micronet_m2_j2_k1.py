# Table 6: one fusion of two groups.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(J=2, K=1))
