"""MLflow, the tracking store and the model registry: what the command line and others call."""

from __future__ import annotations

from polydistill.integrations.mlflow_bundle import (
    REGISTRY_SCHEMES,
    LoadedStudent,
    bundle_folder,
    load_model,
    version_folder,
)
from polydistill.integrations.mlflow_export import export
from polydistill.integrations.mlflow_promotion import History, history, promote, rollback
from polydistill.integrations.mlflow_publish import Published, publish
from polydistill.integrations.mlflow_store import check_store, model_name, tracking_uri
from polydistill.integrations.mlflow_tracker import MlflowTracker

__all__ = [
    "REGISTRY_SCHEMES",
    "History",
    "LoadedStudent",
    "MlflowTracker",
    "Published",
    "bundle_folder",
    "check_store",
    "export",
    "history",
    "load_model",
    "model_name",
    "promote",
    "publish",
    "rollback",
    "tracking_uri",
    "version_folder",
]
