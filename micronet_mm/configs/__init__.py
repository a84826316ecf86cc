"""The main configs in MMEngine's pure-Python style: classes in place of names, ``read_base`` in place of ``_base_``.

A config of yours builds on one as on mmdet's: ``with read_base(): from micronet_mm.configs.retinanet_micronet_m3 import
*``. They are those of the same names in text, of which there are more. The wheels of MMLab bring no configs of this
style, so what those inherit from their host stands here.
"""
