# Table 3b: lambda = 0.5 in G = lambda * sqrt(C / R), without dynamic activations.
_base_ = '../_base_/ablation_m2.py'

model = dict(backbone=dict(dynamic=(0, 0, 0), width=0.7, group_scale=0.5), head=dict(in_channels=536))
