"""Registered models of students. They consist of code, safetensors and pinned requirements, without pickle files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

import polydistill
from polydistill.contracts import Example, FloatArray, Modality
from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import as_examples
from polydistill.errors import MissingDataError
from polydistill.export.bundle import CARD as EXPORT_CARD
from polydistill.export.bundle import load_export
from polydistill.integrations.mlflow.stamp import URI, verified, version_at
from polydistill.integrations.mlflow.store import (
    URI_VARIABLE,
    connected,
    has_store,
    import_mlflow,
    missing_explained,
)
from polydistill.project.card import damaged
from polydistill.students import encode, load_student

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

PACKAGE = Path(polydistill.__file__).parent
CODE = Path(__file__).with_name("pyfunc_student.py")
ARTIFACT = "student"
REQUIREMENTS = ("huggingface-hub", "mlflow", "numpy", "safetensors", "torch", "transformers")
"""Requirements of every student. Modalities add more."""
REGISTRY_SCHEMES = ("models:/", "runs:/")


def pinned_requirements(kind: Modality) -> list[str]:
    """Return the requirements of a modality's students, pinned to the installed versions.

    Local version identifiers are omitted: CPU and CUDA builds of PyTorch both give `torch==2.13.0`.
    """
    pins = []
    for name in sorted({*REQUIREMENTS, *kind.requirements}):
        try:
            pins.append(f"{name}=={version(name).partition('+')[0]}")
        except PackageNotFoundError:  # sentence-transformers is optional
            continue
    return pins


def register_student(
    mlflow: Any, bundle: Path, kind: Modality, example: Example, name: str, tags: Mapping[str, str]
) -> int:
    """Log a bundle to the active run, register it, and return its version.

    The model has no input schema. With a schema, MLflow converts inputs to tables first: it takes the first column of a
    table, cannot store arrays such as images, and refuses empty lists and missing values with errors of its own.

    Args:
        mlflow: The `mlflow` module, connected to the tracking store.
        bundle: The folder of the student's bundle.
        kind: The modality of the student.
        example: An example that is stored with the model.
        name: The name of the registered model.
        tags: Tags of the version.
    """
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    dim = encode(load_student(bundle), [example]).shape[1]
    info = mlflow.pyfunc.log_model(
        name="model",
        python_model=str(CODE),
        artifacts={ARTIFACT: str(bundle)},
        model_config={"modality": kind.name},
        code_paths=[str(PACKAGE)],
        signature=ModelSignature(outputs=Schema([TensorSpec(np.dtype("float32"), (-1, dim))])),
        input_example=[example],
        pip_requirements=pinned_requirements(kind),
    )
    with redirect_stderr(StringIO()):  # MLflow prints the version; errors are still raised
        return int(mlflow.register_model(info.model_uri, name, tags=dict(tags)).version)


def load_model(root: Path, uri: str) -> Callable[[Sequence[Any]], FloatArray]:
    """Return a function that embeds examples with a student.

    The function returns embeddings, `(n_examples, dim)`, not normalised. A registered student accepts all examples that
    its modality can read. A student in a folder accepts `contracts.Example`.

    This function loads a registered student with the installed code. `mlflow.pyfunc.load_model` uses the code that was
    published with the student, which may be older.

    Args:
        root: The project folder.
        uri: A registered student, such as `models:/student-text@champion`, or a folder with a bundle or an export.

    Raises:
        MissingDataError: There is no such version, alias, or bundle.
        StoreError: See `stamp.verified`.
        StageError: The tracking store does not answer.
    """
    if not uri.startswith(REGISTRY_SCHEMES):
        if (Path(uri) / EXPORT_CARD).exists():
            return load_export(Path(uri)).encode
        return partial(encode, load_student(Path(uri)))
    with TemporaryDirectory() as folder:
        bundle = bundle_folder(root, uri, Path(folder))
        registered, card = load_student(bundle), bundle.parents[1] / "MLmodel"
        kind: Modality = MODALITIES.get(_modality(card))()
    return lambda examples: encode(registered, as_examples(examples, kind))


def _modality(card: Path) -> str:
    """Return the modality that `register_student` has written to the file `MLmodel`.

    Raises:
        DataError: The file is damaged.
    """
    try:
        flavors = yaml.safe_load(card.read_text(encoding="utf-8"))["flavors"]
        return str(flavors["python_function"]["config"]["modality"])
    except (OSError, ValueError, TypeError, LookupError, yaml.YAMLError) as error:
        raise damaged(card, error, "publish the student again") from error


def bundle_folder(root: Path, uri: str, destination: Path) -> Path:
    """Download the bundle of a registered student. `SentenceTransformer` can also load it.

    Args:
        root: The project folder.
        uri: The URI of a registered student, such as `models:/student-text@champion`.
        destination: An existing folder for the model.

    Raises:
        MissingDataError: There is no such version or alias, or no tracking store.
        StoreError: See `stamp.verified`.
        StageError: The tracking store does not answer.
    """
    with _found(root, uri) as (client, known):
        source = f"models:/{known.name}/{known.version}" if known else uri
        model = import_mlflow().artifacts.download_artifacts(source, dst_path=str(destination))
        bundle = Path(model) / "artifacts" / ARTIFACT
        return verified(client, known, bundle) if known else bundle


def version_folder(root: Path, uri: str, destination: Path) -> Path:
    """Download a registered student and its heads into the folders `student` and `heads`.

    Args:
        root: The project folder.
        uri: The URI of a registered student, such as `models:/student-text@champion`.
        destination: An existing, empty folder for both folders. It is returned.

    Raises:
        MissingDataError: There is no such version or alias, or its run has no heads.
        StoreError: See `stamp.verified`.
        StageError: The tracking store does not answer.
    """
    with _found(root, uri) as (client, known):
        if known:  # an alias may move between the downloads
            uri = f"models:/{known.name}/{known.version}"
        bundle_folder(root, uri, destination / "model").rename(destination / "student")
        run_id = import_mlflow().models.get_model_info(uri).run_id
        if not any(file.path == "heads" for file in client.list_artifacts(run_id)):
            raise MissingDataError(
                f"The run {run_id} of {uri} holds no heads: publish the student again."
            )
        heads = client.download_artifacts(run_id, "heads", str(destination))
        if known:
            verified(client, known, Path(heads))
    return destination


@contextmanager
def _found(root: Path, uri: str) -> Iterator[tuple[MlflowClient, ModelVersion | None]]:
    """Yield a client, and the version that a URI names; None: the URI names a run or a logged model.

    Raises:
        MissingDataError: There is no such version or alias, or no tracking store.
    """
    if not has_store(root):  # MLflow would create one
        raise MissingDataError(
            f"{root.resolve()} has no tracking store, so it cannot have {uri!r}: run in a project folder that has "
            f"published a student, or set {URI_VARIABLE}."
        )
    with connected(root) as client, missing_explained(uri):
        yield client, version_at(client, uri) if URI.fullmatch(uri) else None
