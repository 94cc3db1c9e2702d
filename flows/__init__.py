"""Prefect flows: order, retries, limits and schedules, and nothing else.

Prefect reads its settings when it is imported, so ours are made here, before any flow imports it.
"""

from polydistill import environment

environment.prepare()
