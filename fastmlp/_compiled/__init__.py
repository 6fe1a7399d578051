"""The compiled modules: thin wrappers of the loop nests in csrc/, without checks.

Users call :mod:`fastmlp.kernels`, which checks its arguments.
"""
