"""Stage 1: networks become plans, lists of compiled operations over one block of memory."""
