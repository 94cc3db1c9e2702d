"""Prefect flows: order, retries, limits and schedules.

Prefect reads its settings on import, and does not create the parent folders of PREFECT_HOME. This module therefore
sets the environment and creates the folder before any flow imports Prefect.
"""

import os
from pathlib import Path

from polydistill.config import environment

environment.prepare()
Path(os.environ["PREFECT_HOME"]).mkdir(parents=True, exist_ok=True)
