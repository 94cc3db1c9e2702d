"""Drift statistics: comparisons of two corpora by student embeddings and by columns."""
