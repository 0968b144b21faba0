"""Runs, bases and adapters in MLflow, which is imported nowhere else."""

from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import find_run, newest, recent_runs, resolve
from lorarec.tracking.runs import Run, standard_tags
from lorarec.tracking.store import Store, open_store, tracking_uri

__all__ = [
    "Run",
    "RunInfo",
    "Store",
    "find_run",
    "newest",
    "open_store",
    "recent_runs",
    "resolve",
    "standard_tags",
    "tracking_uri",
]
