"""The networks whose results fingerprints.py hashes, grouped by the feature they test."""
