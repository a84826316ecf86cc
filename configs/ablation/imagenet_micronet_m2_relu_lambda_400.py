# Table 3b: lambda = 4 in G = lambda * sqrt(C / R), without dynamic activations.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), width=1.4, group_scale=4), head=dict(in_channels=1072))
