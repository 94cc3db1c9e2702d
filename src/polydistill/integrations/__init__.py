"""Edges: each outside service behind a protocol of the core."""
