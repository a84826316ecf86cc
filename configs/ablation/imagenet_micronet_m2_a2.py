# Table 5: Dynamic Shift-Max at A2 alone.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(False, True, False)))
