"""Benchmarks: every claim about speed or memory, measured against a peer in the same run."""
