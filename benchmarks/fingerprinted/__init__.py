"""The networks whose results fingerprints.py hashes, by what is special about them."""
