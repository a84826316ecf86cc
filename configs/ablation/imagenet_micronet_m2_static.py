# Table 2: static Shift-Max, whose coefficients are learned and do not depend on the input.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(coefficients='static'))
