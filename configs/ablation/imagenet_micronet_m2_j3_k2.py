# Table 6: the best of two fusions of three groups.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(J=3, K=2))
