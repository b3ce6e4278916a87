"""The registered model as MLflow runs it; stored with each version as code, not as a pickle.

Input: a table whose first column holds one example per row: a path, base64 text (or a data: URI)
or bytes. Output: one mapping per row,
`{"label": str, "confidence": float, "probabilities": {class: float}}`.

MLflow executes a copy of this file, so it must not rely on its place in the package. What the
input means is the task's affair: the loaded predictor offers
`predict(inputs: list[str | bytes]) -> list[dict]` in just that schema.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class RegisteredModel(PythonModel):
    """Hands rows to the task's predictor."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the weights; the only place that imports the deep-learning stack."""
        from regraft.tasks import load_model

        self.predictor = load_model(context.artifacts["model"])

    def predict(
        self,
        context: PythonModelContext,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """One answer per row of `model_input`."""
        inputs: list[Any] = []
        for value in model_input.iloc[:, 0]:
            # {"image": [a, b]} reaches us as one row that holds the whole list
            inputs.extend(value if isinstance(value, list) else [value])
        answers: list[dict[str, Any]] = self.predictor.predict(inputs)
        return answers


set_model(RegisteredModel())
