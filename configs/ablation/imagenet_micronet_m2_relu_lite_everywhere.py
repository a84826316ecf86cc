# Table 3c: the lite combination at low and high levels.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), lite='everywhere', width=1.42, last_channels=768))
