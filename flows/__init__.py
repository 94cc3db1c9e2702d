"""Prefect flows: order, retries, limits and schedules, and nothing else.

Prefect reads its settings when it is imported, and makes the last folder of PREFECT_HOME but not those
above it, so both are seen to here, before any flow imports it.
"""

import os
from pathlib import Path

from polydistill.config import environment

environment.prepare()
Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
