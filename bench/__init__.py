"""Benchmarks of speed and memory. Each measures polydistill and a peer in the same run."""
