"""The classes and functions of two well-known courses, on fastmlp's kernels.

``layers``, ``layer_utils``, ``optim``, ``fc_net``, ``cnn``, ``solver`` and ``gradient_check`` have
the names of CS231n's assignments, ``nn`` has the class of IFT6135's. See README.md.
"""
