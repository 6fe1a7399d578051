"""The same work in fastmlp and in other frameworks: one module a framework, for peers.py.

Each module is imported only in a process of its own. It has ``version()`` and, for what the
framework can do, ``train(workload, seconds)``, ``predict(workload, seconds)`` and
``mnist(workload, path, epochs)``, which return what the process prints. Images come as
(N, height, width, channels), and every framework gets them in the layout it likes best.
"""
