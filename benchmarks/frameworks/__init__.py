"""The same work in fastmlp and in other frameworks, for peers.py: one module per framework.

Each module is imported only in a separate process. It has ``version()`` and, as far as the
framework supports them, ``train(workload, seconds)``, ``predict(workload, seconds)`` and
``mnist(workload, path, epochs)``, which return the result to print. Images have shape
(N, height, width, channels); every framework gets them in its fastest layout.
"""
