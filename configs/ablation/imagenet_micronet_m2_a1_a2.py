# Table 5: Dynamic Shift-Max at A1 and A2.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(True, True, False)))
