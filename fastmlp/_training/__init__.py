"""Stage 3: epochs, sources of data, and checkpoints.

``loop`` is the place to start reading.
"""
