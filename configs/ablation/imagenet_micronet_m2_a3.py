# Table 5: Dynamic Shift-Max at A3 alone.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(False, False, True)))
