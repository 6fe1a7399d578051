"""The sides of ``fastmlp bench``: the same training in fastmlp and in other libraries.

Each module is imported only in a process of its own (``python -m fastmlp.cli.frameworks``) and has
``version()`` and ``train(workload, seconds)``, which returns the seconds of a step, one for each
epoch, and the mean loss of the second epoch. All start from the same weights and see the same data,
in orders of their own.
"""
