# Table 3b: lambda = 0.25 in G = lambda * sqrt(C / R), without dynamic activations.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), width=0.5, group_scale=0.25), head=dict(in_channels=384))
