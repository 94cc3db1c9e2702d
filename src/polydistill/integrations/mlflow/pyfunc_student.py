"""The code of the registered model: MLflow copies this file and runs the copy when it loads the model.

It is a script for MLflow's "models from code", so that nothing is pickled. No module imports it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from polydistill.data.modalities import MODALITIES
from polydistill.data.tables import as_examples
from polydistill.errors import DataError
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

        `model_input` is one example, a list of examples, or a table. A table has its examples in the modality's
        column, or in its only column. An example is anything that `contracts.Modality.coerce` can read.

        Raises:
            DataError: `model_input` is none of these, or the modality cannot read an example. The message names it.
        """
        values = _values(model_input, self._kind.column)
        return encode(self._student, as_examples(values, self._kind))


def _values(given: object, column: str) -> Sequence[object]:
    """Return the examples in the input from MLflow. If it is a table, they are in one column."""
    if isinstance(given, pd.DataFrame | Mapping):
        names = list(given)
        name = column if column in names or len(names) != 1 else names[0]
        if name not in names:
            raise DataError(
                f"A table of examples must have a column {column!r}, or only one, got {names}."
            )
        given = given[name]
    if isinstance(given, str | bytes | bytearray | Path):
        return [given]
    if isinstance(given, np.ndarray) and (given.ndim != 1 or given.dtype.kind not in "OSU"):
        raise DataError(
            "Examples must be given as a list: [array] for one, list(arrays) for several; got an "
            f"array of {given.dtype} {given.shape}."
        )
    if not isinstance(given, Sequence | np.ndarray | pd.Series):
        raise DataError(f"Examples must be given as a list, got {type(given).__name__}.")
    return list(given)


mlflow.models.set_model(StudentModel())
