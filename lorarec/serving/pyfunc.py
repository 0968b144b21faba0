"""The MLflow model of all domains: MLflow runs this file to load it, so nothing is pickled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow.pyfunc
from mlflow.models import set_model

from lorarec.serving.bundle import BundleSource
from lorarec.serving.frames import answered, queries_of
from lorarec.serving.log_domains import ARTIFACT
from lorarec.serving.pool import Pool


class Recommendations(mlflow.pyfunc.PythonModel):  # type: ignore[misc]
    """One base and many adapters behind a table of requests."""

    def load_context(self, context: Any) -> None:
        """Check the bundle and load its bases; a domain when it is asked for."""
        self.pool = Pool(BundleSource(Path(context.artifacts[ARTIFACT])))

    # MLflow reads type hints as a schema; the model has a signature instead.
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """A row of ranked items for every row of requests."""
        queries = queries_of(model_input)
        return answered(self.pool.answer(queries) if queries else [])


set_model(Recommendations())
