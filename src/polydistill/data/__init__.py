"""Corpora and benchmark tasks: reading, splitting, near-duplicates, modalities, and files of pinned weights."""
