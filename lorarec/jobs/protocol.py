"""Evaluate arms of a domain by a published protocol, with what was published beside them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.config import Settings
from lorarec.data.tables import write_parquet
from lorarec.errors import ConfigError, DataError, NotFoundError, did_you_mean
from lorarec.evaluation.candidates import CandidateLists, drawn_negatives
from lorarec.evaluation.evaluate import RECALL_DENOMINATOR, evaluate_ranking
from lorarec.evaluation.metrics import sampled_hit_rate_at, sampled_ndcg_at
from lorarec.evaluation.protocols import PROTOCOLS, Protocol
from lorarec.evaluation.significance import Interval, bootstrap_interval
from lorarec.jobs.evaluate import Prepared, prepare, ranking_of
from lorarec.jobs.inputs import read_logs
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.ranking import Arena
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store

Array = np.ndarray[Any, Any]
PairScores = Callable[[pl.Series, pl.Series], Array]
_SAMPLED: dict[str, Callable[[Array, Array, int], Array]] = {
    "ndcg_at_10_sampled": sampled_ndcg_at,
    "hit_rate_at_10_sampled": sampled_hit_rate_at,
}
_CUT, _FULL_CUT = 10, 20
_LISTS_AT_ONCE = 2048


@dataclass(frozen=True)
class ByProtocol:
    """What `evaluate_by` found."""

    protocol: Protocol
    domain: str
    cases: int
    """Lists, or users where all items are ranked."""
    results: dict[str, dict[str, Interval]]
    """By arm, by metric key: the mean over cases."""
    published: dict[str, dict[str, float]]
    """By method, by metric key."""
    run: str


def protocol_named(name: str) -> Protocol:
    """A protocol.

    Raises:
        NotFoundError: There is none of that name; the nearest are told.
    """
    if name not in PROTOCOLS:
        raise NotFoundError(
            f"There is no protocol {name!r}.{did_you_mean(name, PROTOCOLS)} Expected one of "
            f"{', '.join(PROTOCOLS)}."
        )
    return PROTOCOLS[name]


def evaluate_by(
    settings: Settings,
    name: str,
    domain: str,
    store: Store,
    base: str | None = None,
    adapter: str | None = None,
    candidates: Path | None = None,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> ByProtocol:
    """Measure each arm exactly as a published protocol does, and record it as one MLflow run.

    Args:
        settings: Its section `evaluate` says which arms; seed, resamples and confidence as well.
        name: Of the protocol.
        domain: Its name.
        store: Where base and adapters are and the run goes.
        base: URI of a base; None is the newest.
        adapter: URI of an adapter, or `none`; None is the newest of the domain on the base.
        candidates: A table of lists, where the protocol has them: `domain`, `split`, `user_id` and
            either `pos_item_id` and `neg_item_ids`, or `item_ids` with the held-out item in it.
        paths: Other logs than the base's, by choice.
        listen: Takes words and progress.

    Raises:
        NotFoundError: There is no such protocol, base, adapter or domain.
        ConfigError: The protocol has lists and no file was given, or the other way round.
        DataError: A list has an item twice or lacks the held-out one.
    """
    protocol = protocol_named(name)
    if (protocol.lists == "file") != (candidates is not None):
        need = "its candidate lists: --candidates FILE" if candidates is None else "no --candidates"
        raise ConfigError(f"Protocol {name} was asked for. Expected {need}.")
    ready = prepare(settings, domain, store, base, adapter, protocol.part, paths, listen)
    # Who had what is all that the published protocols know: a repeated pair is one.
    ready = replace(ready, arena=ready.arena.by_pairs())
    per_case = _full(ready, protocol) if protocol.lists == "none" else None
    if per_case is None:
        lists = (
            read_lists(candidates, ready.arena, protocol.part)
            if candidates is not None
            else draw_lists(ready.arena, protocol, settings.train.seed)
        )
        per_case = {arm: _sampled(_scores(ready, arm), lists, protocol) for arm in ready.arms}
    results = {
        arm: {
            key: bootstrap_interval(
                values,
                resamples=settings.evaluate.bootstrap,
                seed=settings.train.seed,
                confidence=settings.evaluate.confidence,
            )
            for key, values in own.items()
        }
        for arm, own in per_case.items()
    }
    published = protocol.published.get(domain, protocol.published.get("*", {}))
    tags = standard_tags(
        domain=domain,
        **ready.chosen.tags,
        data_digest=ready.source.digest,
        part=protocol.part,
        recall_denominator=RECALL_DENOMINATOR,
        protocol=name,
    )
    params = {**settings.flat(), "domain": domain, "evaluated_arms": ",".join(ready.arms)}
    with store.run(
        f"{name}-{domain}", "evaluate", params=params, tags=tags, config=settings.model_dump()
    ) as run:
        run.log_inputs(read_logs(ready.source, "evaluation"))
        for arm, own in results.items():
            run.log_metrics({f"{arm}_{key}": interval.mean for key, interval in own.items()})
        with run.artifact_folder("per_case") as folder:
            for arm, values in per_case.items():
                write_parquet(pl.DataFrame(values), folder / f"{arm}.parquet")
    cases = next(iter(next(iter(results.values())).values())).n
    return ByProtocol(protocol, domain, cases, results, published, run.uri)


def read_lists(path: Path, arena: Arena, part: str) -> CandidateLists:
    """A domain's lists from a table, as `evaluate_by` describes it."""
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(
            f"{path} is no parquet table: {error}. Expected candidate lists."
        ) from error
    columns = set(table.columns)
    if not {"domain", "split", "user_id"} <= columns or not (
        {"pos_item_id", "neg_item_ids"} <= columns or "item_ids" in columns
    ):
        raise DataError(
            f"{path} has the columns {sorted(columns)}. Expected domain, split, user_id and either "
            f"pos_item_id and neg_item_ids, or item_ids."
        )
    rows = table.filter((pl.col("domain") == arena.domain) & (pl.col("split") == part))
    if "pos_item_id" in columns:
        both = pl.concat_list("pos_item_id", "neg_item_ids").alias("candidates")
        return CandidateLists.of(rows.select("user_id", both, positive="pos_item_id"))
    held = arena.frame.filter(split=part).select("user_id", positive="item_id").unique()
    if held["user_id"].is_duplicated().any():
        users = held.filter(pl.col("user_id").is_duplicated())["user_id"].unique().sort()
        raise DataError(
            f"{len(users)} users have several held-out items, first: {users[:5].to_list()}. "
            f"Expected one for each list of item_ids."
        )
    joined = rows.join(held, on="user_id", how="left", maintain_order="left")
    return CandidateLists.of(joined.select("user_id", "positive", candidates="item_ids"))


def draw_lists(arena: Arena, protocol: Protocol, seed: int) -> CandidateLists:
    """A list for every held-out row: it and drawn catalogue items that its user has not had."""
    held = arena.frame.filter(split=protocol.part).unique(
        ["user_id", "item_id"], maintain_order=True
    )
    users = held["user_id"].unique().sort()
    place = {user: n for n, user in enumerate(users)}
    row = np.array([place[user] for user in held["user_id"]], dtype=np.int64)
    rng = np.random.default_rng(seed)
    had = arena.seen(users, ("train", protocol.part))  # a held-out item is no negative of its own
    drawn = drawn_negatives(row, had, len(arena.catalogue), protocol.negatives, rng)
    negatives = arena.catalogue.series.gather(drawn.ravel())
    width = protocol.negatives
    shaped = pl.DataFrame({"item": negatives, "list": np.repeat(np.arange(len(held)), width)})
    grouped = shaped.group_by("list", maintain_order=True).agg("item")["item"]
    frame = pl.DataFrame({"positive": held["item_id"], "others": grouped})
    ordered = frame.select(pl.concat_list("positive", "others"))["positive"]
    return CandidateLists(held["user_id"], ordered.explode(), width + 1)


def _scores(ready: Prepared, arm: str) -> PairScores:
    if arm == "popularity":
        return ready.arena.popularity_of
    if arm in ready.rankers:
        return ready.rankers[arm].score
    return ready.arena.scorer(ready.chosen.base, ready.models.get(arm)).score


def _sampled(score: PairScores, lists: CandidateLists, protocol: Protocol) -> dict[str, Array]:
    users = lists.repeated_users()
    step = _LISTS_AT_ONCE * lists.width
    scores = np.concatenate(
        [
            np.asarray(score(users[start : start + step], lists.candidates[start : start + step]))
            for start in range(0, len(users), step)
        ]
    ).reshape(-1, lists.width)
    return {key: _SAMPLED[key](scores[:, 0], scores[:, 1:], _CUT) for key in protocol.metrics}


def _full(ready: Prepared, protocol: Protocol) -> dict[str, dict[str, Array]]:
    """Full rankings with train rows alone masked."""
    users, held_out = ready.arena.held_out(protocol.part)
    seen = ready.arena.seen(users, ("train",))
    found = {}
    for arm in ready.arms:
        ranked = ranking_of(ready, arm, users, _FULL_CUT, seen)
        result = evaluate_ranking(
            ranked, held_out, (_FULL_CUT,), metrics=("recall", "ndcg"), resamples=1
        )
        found[arm] = {key: result.per_user[key] for key in protocol.metrics}
    return found
