"""Prefect flows: order, retries, limits and schedules, and nothing else."""
