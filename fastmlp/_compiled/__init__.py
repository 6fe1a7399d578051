"""The compiled modules: thin checked-nowhere wrappers of the loop nests in csrc/.

The only door to them; users call :mod:`fastmlp.kernels`, which checks its arguments.
"""
