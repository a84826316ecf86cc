# Table 3b: lambda = 2 in G = lambda * sqrt(C / R), without dynamic activations.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), width=1.3, group_scale=2), head=dict(in_channels=1000))
