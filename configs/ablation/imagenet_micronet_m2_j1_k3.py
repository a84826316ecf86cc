# Table 6: the best of three fusions of one group.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(J=1, K=3))
