"""The code of the registered model: MLflow copies this file and runs the copy when it loads the model.

It is a script for MLflow's "models from code", so that nothing is pickled. No module imports it.
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import as_examples
from polydistill.errors import DataError, short
from polydistill.students import encode, load_student


class StudentModel(PythonModel):
    """MLflow model that embeds examples with the student in the artifact `student`."""

    def load_context(self, context: Any) -> None:
        """Load the bundle, and the modality that reads the examples."""
        self._kind = MODALITIES.get(context.model_config["modality"])()
        self._student = load_student(Path(context.artifacts["student"]))

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,  # or a list: MLflow warns of any other annotation
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> np.ndarray[Any, Any]:
        """Return embeddings, `(n_examples, dim)`, float32, not normalised.

        `model_input` is one example, a list or column of examples, or a table. The examples of a table are in the
        modality's column (`text`, `smiles`, `image`; case is ignored), or else in its only column, or else in its only
        column of strings. An example is anything that `contracts.Modality.coerce` can read.

        Raises:
            DataError: `model_input` is none of these, or the modality cannot read an example. The message names it.
        """
        values = _values(model_input, self._kind.column)
        return encode(self._student, as_examples(values, self._kind))


def _values(given: object, column: str) -> list[object]:
    """Return the examples in the input from MLflow. If it is a table, they are in one column."""
    if isinstance(given, pd.DataFrame | Mapping):
        given = _examples_of(given, column)
    if isinstance(given, str | bytes | bytearray | Path):
        return [given]
    if (
        isinstance(given, np.ndarray)
        and given.size
        and (given.ndim != 1 or given.dtype.kind not in "OSU")
    ):
        raise DataError(
            "Examples must be given as a list: [array] for one, list(arrays) for several; got an "
            f"array of {given.dtype} {given.shape}."
        )
    if not isinstance(given, Collection) or isinstance(given, AbstractSet):
        raise DataError(f"Examples must be given as a list, got {type(given).__name__}.")
    return list(given)


def _examples_of(table: pd.DataFrame | Mapping[Any, Any], column: str) -> object:
    """Return the column of a table that holds the examples."""
    names = list(table)
    usual = [name for name in names if str(name).strip().lower() == column]
    found = [name for name in usual if name == column] or usual
    if not found:
        found = names if len(names) == 1 else [one for one in names if _is_text(table[one])]
    if len(found) != 1:
        raise DataError(
            f"A table of examples must have one column {column!r}, or only one column of strings, got "
            f"{short(names)}."
        )
    return table[found[0]]


def _is_text(values: object) -> bool:
    """Return whether a column holds strings or bytes, besides missing values."""
    rows = pd.Series([values] if isinstance(values, str | bytes) else values, dtype=object).dropna()
    return len(rows) > 0 and all(isinstance(row, str | bytes) for row in rows)


mlflow.models.set_model(StudentModel())
