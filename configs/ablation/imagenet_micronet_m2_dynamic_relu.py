# Table 4: Dynamic ReLU, which is Dynamic Shift-Max without shifts.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(J=1))
