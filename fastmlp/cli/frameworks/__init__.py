"""The frameworks of ``fastmlp bench``: the same training in fastmlp and in other libraries.

Each module is imported only in a separate process (``python -m fastmlp.cli.frameworks``). It has
``version()`` and ``train(workload, seconds)``, which returns the seconds per step, one number for
each epoch, and the mean loss of the second epoch. All frameworks start from the same weights and
see the same data; each shuffles it differently.
"""
