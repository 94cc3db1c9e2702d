"""The registered model's code: MLflow copies this file and runs the copy when it loads the model.

It is a script for MLflow ("models from code", so nothing is pickled), and no module of ours imports it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from polydistill.modalities import MODALITIES
from polydistill.students import encode, load_student


class StudentModel(PythonModel):
    """Embeds examples with the student in the artifact `student`."""

    def load_context(self, context: Any) -> None:
        """Load the bundle and what reads its examples."""
        self._kind = MODALITIES.get(context.model_config["modality"])()
        self._student = load_student(Path(context.artifacts["student"]))

    def predict(
        self,
        context: Any,  # noqa: ARG002
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> np.ndarray[Any, Any]:
        """Return embeddings, `(n_examples, dim)`, float32, not normalised.

        `model_input` is a table with one column of examples: whatever the modality can read (see
        `contracts.Modality.coerce`).

        Raises:
            DataError: The modality cannot read one.
        """
        values = np.asarray(model_input, dtype=object).reshape(-1).tolist()
        return encode(self._student, [self._kind.coerce(value) for value in values])


mlflow.models.set_model(StudentModel())
