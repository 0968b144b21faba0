"""The logs that a run read, as MLflow's data sets, by a digest that knows the rows' order."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput

Context = Literal["training", "evaluation"]
MAX_NAME, MAX_DIGEST = 500, 36
"""Characters that MLflow's tables have room for."""


@dataclass(frozen=True)
class Input:
    """Logs that a run read.

    Attributes:
        name: As shown in MLflow's page, such as the name of the file.
        digest: SHA-256 of the rows in their order, in hex. MLflow has room for its beginning; the
            whole of it stands in the source, and in the run's tag `lorarec.data_digest`.
        context: What they were read for.
        source: Where they are and how they were read.
        profile: Numbers of them, such as their rows.
    """

    name: str
    digest: str
    context: Context
    source: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, float] = field(default_factory=dict)

    def as_dataset(self) -> DatasetInput:
        """As MLflow takes it."""
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

        source = {**self.source, "digest": self.digest}
        found = Dataset(
            name=self.name[:MAX_NAME],
            digest=self.digest[:MAX_DIGEST],
            source_type="lorarec",
            source=json.dumps(source, ensure_ascii=False),
            profile=json.dumps(dict(self.profile)),
        )
        return DatasetInput(found, tags=[InputTag(MLFLOW_DATASET_CONTEXT, self.context)])
