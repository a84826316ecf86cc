# Table 4: squeeze-and-excitation with ReLU, which is Dynamic Shift-Max of one fusion of one group.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(J=1, K=1))
