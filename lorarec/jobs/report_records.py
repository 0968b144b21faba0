"""What runs have recorded, read for a report: evaluations, curves, sizes, trainings."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import polars as pl

from lorarec.config.arms import in_order
from lorarec.errors import NotFoundError
from lorarec.evaluation.calibration import ScoreSample
from lorarec.evaluation.rank_curve import RankCurve, read_curve
from lorarec.report.content import Cost, Evaluation, Training
from lorarec.tracking.history import metric_history
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import finished, resolve
from lorarec.tracking.store import Store

HEADLINE = ("recall_at_", "ndcg_at_")


def artifact_json(store: Store, info: RunInfo, name: str) -> Any:
    """A JSON artifact of a run; None where it has none.

    Raises:
        StoreError: The store refused.
    """
    try:
        path, _ = resolve(store, f"{info.uri}/{name}", "source")
    except NotFoundError:
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def evaluation_of(store: Store, info: RunInfo) -> Evaluation | None:
    """What an `evaluate` run found; None where it left no `evaluation.json`."""
    record = artifact_json(store, info, "evaluation.json")
    if record is None:
        return None
    # JSON artifacts are sorted by name; arms have an order of their own.
    arms = {arm: record["arms"][arm] for arm in in_order(record["arms"])}
    return Evaluation(
        domain=record["domain"],
        part=record["part"],
        run=info.uri,
        arms=arms,
        minus_base={a: record["minus_base"][a] for a in arms if a in record["minus_base"]},
        drift=record.get("drift") or {},
        gains=_gains(store, info, arms) if "base" in arms else {},
        scores={a: ScoreSample.from_json(s) for a, s in (record.get("scores") or {}).items()},
    )


def per_user(store: Store, info: RunInfo, arm: str) -> pl.DataFrame | None:
    """The values of each user by one arm; None where they were not kept."""
    try:
        path, _ = resolve(store, f"{info.uri}/per_user/{arm}.parquet", "source")
    except NotFoundError:
        return None
    return pl.read_parquet(path)


def _gains(
    store: Store, info: RunInfo, arms: Iterable[str]
) -> dict[str, dict[str, np.ndarray[Any, Any]]]:
    base = per_user(store, info, "base")
    if base is None:
        return {}
    keys = [key for key in base.columns if key.startswith(HEADLINE)]
    found = {}
    for arm in arms:
        own = None if arm == "base" else per_user(store, info, arm)
        if own is not None:
            both = base.select("user_id", *keys).join(own, on="user_id", suffix="_arm")
            found[arm] = {
                key: (both[f"{key}_arm"] - both[key]).to_numpy() for key in keys if key in own
            }
    return found


def curves_of(store: Store, base_digest: str | None, domains: Iterable[str]) -> list[RankCurve]:
    """The newest comparison of ranks of each domain on a base."""
    found: dict[str, RankCurve] = {}
    wanted = set(domains)
    for info in finished(store, ["sweep", "adapt"], base_digest=base_digest):
        name = info.domain
        if name is None or name in found or name not in wanted:
            continue
        if not any(key.startswith("rank/") for key in info.metrics):
            continue
        record = artifact_json(store, info, "ranks.json")
        if record is not None:
            found[name] = read_curve(record)
    return [found[name] for name in sorted(found)]


def cost_of(info: RunInfo) -> Cost | None:
    """What the adapter of a run costs; None of one that recorded no size."""
    metrics = info.metrics
    if "parameters" not in metrics:
        return None
    return Cost(
        domain=str(info.domain),
        run=info.uri,
        rank="full" if info.kind == "full" else info.tag("rank") or "-",
        parameters=int(metrics["parameters"]),
        full=int(metrics.get("parameters_full", 0)),
        stored=int(metrics.get("bytes_on_disk", 0)),
        recall=metrics.get("valid_recall_at_20"),
    )


def training_of(store: Store, info: RunInfo, name: str) -> Training | None:
    """The curves of a run that trained; None where it recorded none."""
    series = {
        key: metric_history(store, info.run_id, key) if key in info.metrics else []
        for key in ("train_loss", "valid_recall_at_20")
    }
    if not any(series.values()):
        return None
    best = info.metrics.get("best_epoch")
    # What was kept is logged once more, a step behind the last epoch: no epoch of its own.
    kept = max(step for points in series.values() for step, _ in points)
    loss, recall = (
        [(step, value) for step, value in points if step < kept and np.isfinite(value)]
        for points in series.values()
    )
    return Training(name, info.uri, loss, recall, None if best is None else int(best))
