"""Corpora and benchmark tasks: reading, splitting, near-duplicates, modalities, and the files that weights come in."""
