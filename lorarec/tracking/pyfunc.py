"""A folder of ours as an MLflow model: a file of code, the folder beside it, and a signature."""

from __future__ import annotations

import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from lorarec.tracking.refusals import refusals
from lorarec.tracking.runs import Run

if TYPE_CHECKING:
    from lorarec.tracking.store import Store

MODEL = "model"
"""The artifact of a run that holds one."""


def log_pyfunc(store: Store, run: Run, code: Path, folder: Path, artifact: str) -> str:
    """Keep a folder as the MLflow model of a run.

    Nothing is pickled: MLflow copies `code` and runs it to load the model.

    Args:
        store: Of the run.
        run: In progress.
        code: Calls `mlflow.models.set_model`.
        folder: What the model reads; copied.
        artifact: What the code calls it.

    Returns:
        `runs:/<id>/model`, as `mlflow.pyfunc.load_model` and `mlflow models serve` take it.

    Raises:
        StoreError: The store or the disk refused.
    """
    with refusals(store.uri), run.artifact_folder(MODEL) as target:
        save_pyfunc(target, code, folder, artifact)
    return f"{run.uri}/{MODEL}"


def save_pyfunc(target: Path, code: Path, folder: Path, artifact: str) -> None:
    """Write a folder as an MLflow model; as `log_pyfunc`, without a run.

    Args:
        target: A folder that is new or empty.
        code: Calls `mlflow.models.set_model`.
        folder: What the model reads; copied.
        artifact: What the code calls it.
    """
    with warnings.catch_warnings():
        # About type hints of MLflow's own, and of a model that has a signature besides.
        warnings.simplefilter("ignore", UserWarning)
        _save(target, code, folder, artifact)


def _save(target: Path, code: Path, folder: Path, artifact: str) -> None:
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    text, real = DataType.string, DataType.double
    signature = ModelSignature(
        inputs=Schema(
            [
                ColSpec(text, "domain"),
                ColSpec(text, "user_id", required=False),
                ColSpec(Array(text), "history", required=False),
                ColSpec(DataType.long, "k", required=False),
            ]
        ),
        outputs=Schema(
            [
                ColSpec(text, "domain"),
                ColSpec(text, "user_id", required=False),
                ColSpec(Array(text), "items"),
                ColSpec(Array(real), "scores"),
                ColSpec(text, "fallback", required=False),
                ColSpec(text, "reason", required=False),
                ColSpec(text, "adapter_digest", required=False),
            ]
        ),
    )
    # Its import has put filters of its own before the one above.
    warnings.simplefilter("ignore", UserWarning)
    mlflow.pyfunc.save_model(
        str(target),
        python_model=str(code),
        artifacts={artifact: str(folder)},
        signature=signature,
        pip_requirements=[f"lorarec=={version('lorarec')}"],
    )
