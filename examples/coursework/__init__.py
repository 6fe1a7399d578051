"""The classes and functions of two well-known courses, on fastmlp's kernels.

``layers``, ``layer_utils``, ``optim``, ``fc_net``, ``cnn``, ``solver`` and ``gradient_check`` use
the names of the CS231n assignments; ``nn`` has the class of the IFT6135 assignment. See README.md.
"""
