"""Stage 3: epochs, sources of data, and checkpoints."""
