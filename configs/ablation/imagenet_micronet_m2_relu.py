# Table 4: ReLU6 and no activation at the output of a block.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(False, False, False)))
