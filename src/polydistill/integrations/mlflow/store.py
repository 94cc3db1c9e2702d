"""The tracking store of MLflow: where it is, connecting to it, and its errors in plain words."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polydistill.errors import (
    InfrastructureError,
    MissingDataError,
    MissingExtraError,
    PolydistillError,
    StageError,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

URI_VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
STUDENT_TAG, LOCK_TAG, COMMIT_TAG = "student_sha256", "lock_sha256", "mlflow.source.git.commit"
"""Of runs and versions: what identifies a student."""
LOCK_TIMEOUT_S = 10.0
REFUSED = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
"""What MLflow calls the answers 401 and 403 of a server with users."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # `--json` prints one object and nothing else
    # MLflow tries a server that is down for many minutes; these are 10 to 20 seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def folder(root: Path) -> Path:
    """Return the folder of the project's own tracking store."""
    return root.resolve() / "mlruns"


def model_name(modality: str) -> str:
    """Return the registered model's name."""
    return f"student-{modality}"


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else the project's own SQLite database."""
    return os.environ.get(URI_VARIABLE) or f"{SQLITE}{folder(root) / 'mlflow.db'}"


def has_store(root: Path) -> bool:
    """Return whether there is a tracking store: MLflow would make a missing database by looking into it."""
    uri = tracking_uri(root)
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


@contextmanager
def connected(root: Path) -> Iterator[MlflowClient]:
    """Give a client, and point MLflow's fluent functions to the same store until the end.

    Raises:
        MissingExtraError: MLflow is not installed.
        InfrastructureError: Another process holds the database's lock: worth another try.
        StageError: The store is damaged, of another MLflow, or does not answer.
    """
    mlflow = import_mlflow()
    uri, before = tracking_uri(root), os.environ.get(URI_VARIABLE)
    with errors_translated(uri):
        require_sound(uri)
        mlflow.set_tracking_uri(uri)  # also sets the environment variable, for child processes
        mlflow.set_registry_uri(uri)
        try:
            yield mlflow.MlflowClient(uri, uri)
        finally:
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
            if before is not None:
                os.environ[URI_VARIABLE] = before


def import_mlflow() -> Any:
    """Import MLflow, quiet; seconds.

    Raises:
        MissingExtraError: It is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtraError("The tracking store", "mlflow") from error
    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.ERROR)
    return mlflow


def require_sound(uri: str) -> None:
    """Look into an SQLite file first: MLflow would try a damaged one again for an hour.

    Raises:
        InfrastructureError: Another process holds its lock.
        StageError: It is no database.
    """
    if not uri.startswith(SQLITE):
        return
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        return
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            database.rollback()
    except sqlite3.Error as error:
        raise _explain(uri, error) from error


@contextmanager
def errors_translated(uri: str) -> Iterator[None]:
    """Turn what MLflow and its database raise into our own errors."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except PolydistillError:
        raise
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise _explain(uri, error) from error


@contextmanager
def missing_explained(uri: str) -> Iterator[None]:
    """Turn MLflow's word for what is not there into a `MissingDataError`."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        known = error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}
        if not known and "alias" not in str(error):  # MLflow calls that an invalid value
            raise
        raise MissingDataError(
            f"No {uri} in the registry: {str(error).splitlines()[0]}\n"
            "`polydistill publish` and `polydistill promote` create it."
        ) from error


def check_store(root: Path) -> str:
    """Describe the tracking store, after seeing that it answers; makes nothing.

    Raises:
        StageError: It does not answer.
    """
    uri = tracking_uri(root)
    if not has_store(root):
        return f"{shown(uri, root)}, made at the first run"
    with connected(root) as client:
        client.search_experiments(max_results=1)
    return shown(uri, root)


def registered_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """Return a registered model with its aliases and tags; none, if there is none."""
    return next(iter(client.search_registered_models(f"name = '{name}'")), None)


def experiment_id(client: MlflowClient, root: Path, modality: str) -> str:
    """Return the experiment of a modality, made if need be."""
    experiment = client.get_experiment_by_name(modality)
    if experiment is not None:
        return str(experiment.experiment_id)
    ours = client.tracking_uri == f"{SQLITE}{folder(root) / 'mlflow.db'}"
    artifacts = (folder(root) / "artifacts").as_uri() if ours else None  # a server has its own
    return str(client.create_experiment(modality, artifact_location=artifacts))


def shown(uri: str, root: Path = Path()) -> str:
    """Return a URI without the user and password in it, and without our own path."""
    short = uri.replace(f"{root.resolve()}/", "")
    return re.sub(r"//[^@/]*@", "//", short)


def _explain(uri: str, error: Exception) -> StageError:
    """Return an error that says on one screen what is wrong with the store, and what to do."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    found = re.sub(r"//[^@/]*@", "//", lines[0])[:300]
    where, path = shown(uri), uri.removeprefix(SQLITE)
    if "database is locked" in str(error):
        return InfrastructureError(
            f"The tracking store {where} is locked by another process: {found}.\n"
            "Wait for that process (an `mlflow server`, another run) or stop it, then run this again."
        )
    if getattr(error, "error_code", None) in REFUSED:
        advice = (
            "The server refuses access: check that MLFLOW_TRACKING_USERNAME and "
            "MLFLOW_TRACKING_PASSWORD are those of a user who may do this."
        )
    elif not uri.startswith(SQLITE):
        advice = f"Start that server, or unset {URI_VARIABLE} to use the project's own database."
    elif "not a database" in str(error) or "malformed" in str(error):
        advice = (
            f"Move {path} away and run this again: `publish` makes the run again from its files."
        )
    elif "schema" in str(error):
        advice = f"Another version of MLflow made it. `mlflow db upgrade {uri}` upgrades it."
    else:
        advice = f"See that {Path(path).parent} can be written and that its disk has room."
    return StageError(f"The tracking store {where} failed: {found}\n{advice}")
