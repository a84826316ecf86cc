# Table 6: the best of three fusions of two groups.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(J=2, K=3))
