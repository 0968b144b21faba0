"""The MLflow store that a script keeps beside its finished arms."""

from __future__ import annotations

from benchmarks.common import Cache
from lorarec.config import Tracking
from lorarec.tracking.store import Store, open_store


def uri_of(cache: Cache) -> str:
    """Of a SQLite store below the cache's folder."""
    return f"sqlite:///{cache.folder / 'mlruns' / 'mlflow.db'}"


def store_of(cache: Cache) -> Store:
    """The store, its folder made where there is none yet."""
    (cache.folder / "mlruns").mkdir(parents=True, exist_ok=True)
    return open_store(Tracking(uri=uri_of(cache)), environ={})
