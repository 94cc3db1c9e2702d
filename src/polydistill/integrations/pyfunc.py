"""The student as an MLflow model, from code: no pickle. MLflow reads this file, and the bundle beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc.model import PythonModel

from polydistill.students import encode, load_student


class StudentModel(PythonModel):  # type: ignore[misc]
    """Embeds examples; see `contracts.Student`."""

    def load_context(self, context: Any) -> None:
        """Load the bundle."""
        self.student = load_student(Path(context.artifacts["bundle"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:  # noqa: ARG002
        """Return `(n_examples, dim)`, float32, for a list, an array or a table with one column."""
        if isinstance(model_input, pd.DataFrame):
            model_input = model_input.iloc[:, 0]
        return encode(self.student, [str(one) for one in np.asarray(model_input).reshape(-1)])


mlflow.models.set_model(StudentModel())
