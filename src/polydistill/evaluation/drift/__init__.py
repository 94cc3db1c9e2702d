"""Drift: whether two corpora look alike to the student, and in their columns; pure statistics."""
