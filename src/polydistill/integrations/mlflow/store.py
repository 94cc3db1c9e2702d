"""The tracking store of MLflow: its URI, connections to it, and explanations of its errors."""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from polydistill import errors

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import RegisteredModel

_log = logging.getLogger(__name__)
URI_VARIABLE = "MLFLOW_TRACKING_URI"
SQLITE = "sqlite:///"
STUDENT_TAG, LOCK_TAG, COMMIT_TAG = "student_sha256", "lock_sha256", "mlflow.source.git.commit"
"""Tags of runs and versions that identify a student."""
LOCK_TIMEOUT_S = 10.0
LOCKED = "database is locked"
ADVICE = {
    LOCKED: "It is locked by another process. Wait for that process (an `mlflow server`, another run) or "
    "stop it, then run this again.",
    "UNAUTHENTICATED|PERMISSION_DENIED": "The server refuses access: check MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD.",
    "^(?!sqlite )": f"Start that server, or unset {URI_VARIABLE} to use the project's own database.",
    "not a database|malformed": "Move {path} away and run this again: `publish` restores the run from "
    "its files.",
    "schema": "Another version of MLflow made it. `mlflow db upgrade {uri}` upgrades it.",
    "": "Check that {folder} is writable and that its disk has space.",
}
"""Advice by regular expression, which is matched with the URI scheme and the error. The first match is used."""
MOVES = {
    "experiments": "UPDATE experiments SET artifact_location = replace(artifact_location, :there, :here)",
    "runs": "UPDATE runs SET artifact_uri = replace(artifact_uri, :there, :here)",
    "logged_models": "UPDATE logged_models SET artifact_location = replace(artifact_location, :there, :here)",
    "model_versions": "UPDATE model_versions SET storage_location = replace(storage_location, :there, :here)",
}
"""Statements by table that replace the folder of all artifacts. MLflow stores absolute paths."""
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # the output of `--json` must be one object only
    # By default, MLflow retries for many minutes if a server is down. These settings limit that to 10 to 20 seconds.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}


def folder(root: Path) -> Path:
    """Return the folder of the project's own tracking store."""
    return root.resolve() / "mlruns"


def model_name(modality: str) -> str:
    """Return the name of a modality's registered model."""
    return f"student-{modality}"


def tracking_uri(root: Path) -> str:
    """Return `MLFLOW_TRACKING_URI` if it is set, else the URI of the project's own SQLite database."""
    return os.environ.get(URI_VARIABLE) or _own_uri(root)


def has_store(root: Path) -> bool:
    """Return whether the tracking store exists. If the database is missing, MLflow creates it when it connects."""
    uri = tracking_uri(root)
    return not uri.startswith(SQLITE) or Path(uri.removeprefix(SQLITE)).exists()


@contextmanager
def connected(root: Path) -> Iterator[MlflowClient]:
    """Yield a client. Inside the context, MLflow's fluent functions use the same store.

    Raises:
        MissingExtraError: MLflow is not installed.
        InfrastructureError: Another process holds the lock of the database. Try again later.
        StageError: The store is damaged, was created by another version of MLflow, or does not answer.
    """
    mlflow = import_mlflow()
    uri, before = tracking_uri(root), os.environ.get(URI_VARIABLE)
    with errors_translated(uri):
        require_sound(uri, _artifacts(root) if uri == _own_uri(root) else None)
        mlflow.set_tracking_uri(uri)  # also sets the environment variable, for child processes
        mlflow.set_registry_uri(uri)
        try:
            yield mlflow.MlflowClient(uri, uri)
        finally:
            mlflow.set_tracking_uri(None)
            mlflow.set_registry_uri(None)
            # after a context inside this one, MLflow takes the URI for removed and leaves the variable
            os.environ.pop(URI_VARIABLE, None)
            if before is not None:
                os.environ[URI_VARIABLE] = before


def import_mlflow() -> Any:
    """Import MLflow without its log messages. The import takes seconds.

    Raises:
        MissingExtraError: MLflow is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    with errors.needs_extra("The tracking store", "mlflow"):
        import mlflow
    for library in ("mlflow", "alembic"):
        logging.getLogger(library).setLevel(logging.ERROR)
    # It prints the traceback of an error that it also raises.
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
    return mlflow


def require_sound(uri: str, artifacts: str | None = None) -> None:
    """Check that an SQLite file is a database, and create a missing one.

    MLflow would retry opening a damaged file for an hour.

    Args:
        uri: The URI of the tracking store.
        artifacts: The URI of the artifacts in the project's own store. If the project was copied or moved, the database
            still has the paths in the original: they are replaced.

    Raises:
        InfrastructureError: Another process holds the lock of the database.
        StageError: The file is not a database.
    """
    if not uri.startswith(SQLITE):
        return
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _create(path)
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_TIMEOUT_S)) as database:
            database.execute("BEGIN IMMEDIATE")
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
            if artifacts and "experiments" in tables:  # else MLflow reports the other schema
                _move_here(database, tables, artifacts)
            database.commit()
    except sqlite3.Error as error:
        raise _explain(uri, error) from error


def _create(path: Path) -> None:
    """Create a database with MLflow's tables by one rename: MLflow cannot complete a part of its tables."""
    import_mlflow()
    from mlflow.store.db.utils import _initialize_tables, create_sqlalchemy_engine

    with FileLock(f"{path}.creation.lock"):
        if path.exists():  # another process has created it meanwhile
            return
        unfinished = path.with_name(f".{path.name}.unfinished")
        for left in (unfinished, Path(f"{unfinished}-journal")):  # by a killed process
            left.unlink(missing_ok=True)
        engine = create_sqlalchemy_engine(f"{SQLITE}{unfinished}")
        _initialize_tables(engine)
        engine.dispose()
        unfinished.rename(path)


def _move_here(database: sqlite3.Connection, tables: Container[str], here: str) -> None:
    query = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file://%/mlruns/artifacts'"
    for (there,) in database.execute(query).fetchall():
        if there == here:
            continue
        for table, statement in MOVES.items():
            if table in tables:
                database.execute(statement, {"there": there, "here": here})
        _log.warning(
            f"The project was copied or moved: its registry now reads and writes {here}, not {there}."
        )


@contextmanager
def errors_translated(uri: str) -> Iterator[None]:
    """Convert errors of MLflow and its database to `StageError`."""
    import_mlflow()
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except errors.PolydistillError:  # some are also subclasses of `OSError`
        raise
    except (MlflowException, SQLAlchemyError, OSError) as error:
        raise _explain(uri, error) from error


@contextmanager
def missing_explained(uri: str) -> Iterator[None]:
    """Convert MLflow's errors for a missing version or alias to `MissingDataError`."""
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        known = error.error_code in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"}
        if not known and "alias" not in str(error):  # MLflow calls that an invalid value
            raise
        raise errors.MissingDataError(
            f"No {uri} in the registry: {str(error).splitlines()[0]}\n"
            "`polydistill publish` and `polydistill promote` create it."
        ) from error


def check_store(root: Path) -> str:
    """Send a test request to the tracking store, and return its URI. A missing store is not created.

    Raises:
        StageError: The tracking store does not answer.
    """
    uri = tracking_uri(root)
    if not has_store(root):
        return f"{shown(uri, root)}, made at the first run"
    with connected(root) as client:
        client.search_experiments(max_results=1)
    return shown(uri, root)


def registered_model(client: MlflowClient, name: str) -> RegisteredModel | None:
    """Return a registered model with its aliases and tags. None: it does not exist."""
    return next(iter(client.search_registered_models(f"name = '{name}'")), None)


def experiment_id(client: MlflowClient, root: Path, modality: str) -> str:
    """Return the id of a modality's experiment. A missing experiment is created."""
    experiment = client.get_experiment_by_name(modality)
    if experiment is not None:
        return str(experiment.experiment_id)
    ours = client.tracking_uri == _own_uri(root)
    artifacts = _artifacts(root) if ours else None  # a server has its own
    return str(client.create_experiment(modality, artifact_location=artifacts))


def local_path(uri: str) -> Path | None:
    """Return the local path of an artifact URI. None: the artifacts are stored on a server."""
    if not uri.startswith(("/", "file:")):  # `mlflow-artifacts:/…`, `s3://…`
        return None
    from mlflow.utils.file_utils import local_file_uri_to_path

    return Path(local_file_uri_to_path(uri))


def shown(text: str, root: Path = Path()) -> str:
    """Return a text without the user name and password of URIs, and without the path of the project."""
    return re.sub(r"//[^@/]*@", "//", text.replace(f"{root.resolve()}/", ""))


def lost_versions(root: Path) -> list[str]:
    """Return the name and number of each version whose files should be on this machine, and are missing."""
    if not has_store(root):
        return []
    with connected(root) as client:
        found = [(one.name, one.version) for one in client.search_model_versions()]
        places = {one: local_path(client.get_model_version_download_uri(*one)) for one in found}
    return [
        " ".join(map(str, one)) for one, place in places.items() if place and not place.exists()
    ]


def _own_uri(root: Path) -> str:
    return f"{SQLITE}{folder(root) / 'mlflow.db'}"


def _artifacts(root: Path) -> str:
    """Return the URI of the artifacts in the project's own store. Projects that link to one folder have the same."""
    return (folder(root).resolve() / "artifacts").as_uri()


def _explain(uri: str, error: Exception) -> errors.StageError:
    """Return an error with a short message, which describes the problem of the store and a solution."""
    first = next((one for one in str(error).splitlines() if one.strip()), type(error).__name__)
    symptoms = f"{uri.partition(':')[0]} {getattr(error, 'error_code', '')} {error}"
    pattern, advice = next(one for one in ADVICE.items() if re.search(one[0], symptoms))
    path = uri.removeprefix(SQLITE)
    advice = advice.format(uri=uri, path=path, folder=Path(path).parent)
    kind = errors.InfrastructureError if pattern == LOCKED else errors.StageError
    return kind(f"The tracking store {shown(uri)} failed: {shown(first)[:300]}\n{advice}")
