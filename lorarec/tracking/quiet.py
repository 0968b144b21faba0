"""MLflow, imported late and kept from phoning home and from talking."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""No telemetry, no chatter, no long waits: set unless the user has, before MLflow's import."""


RETRIES = 3
"""How often a database that refuses is asked again: within about a second."""


def mlflow_client(uri: str) -> MlflowClient:
    """A client of the tracking store and the registry at `uri`."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    if not uri.startswith("http"):
        from mlflow.store.db import utils

        # It asks a database that refuses ten times more, for almost two minutes in all.
        utils.MAX_RETRY_COUNT = min(utils.MAX_RETRY_COUNT, RETRIES)
    if os.environ["MLFLOW_LOGGING_LEVEL"] == "CRITICAL":
        # Also where something else imported MLflow first, with its own level.
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    return MlflowClient(tracking_uri=uri, registry_uri=uri)
