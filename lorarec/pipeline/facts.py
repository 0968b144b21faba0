"""What the store and the data set say, as `due` takes it: ages, new rows, drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.data.prepared.dataset import PreparedDataset
from lorarec.errors import ArtifactError, LorarecError, NotFoundError
from lorarec.evaluation.drift import drift
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import Named, find_adapter
from lorarec.models.artefact import BaseInfo
from lorarec.pipeline.due import BaseFacts, DomainFacts
from lorarec.record import load_record
from lorarec.tracking.champions import reign
from lorarec.tracking.info import RunInfo
from lorarec.tracking.model_names import model_name
from lorarec.tracking.registry import BASE_KINDS, finished, resolve
from lorarec.tracking.store import Store
from lorarec.tracking.versions import versions


@dataclass(frozen=True)
class CurrentBase:
    """The newest base of the data set."""

    uri: str
    info: BaseInfo
    trained_at: int


@dataclass(frozen=True)
class Lineage:
    """The adapter that a domain goes on from."""

    named: Named
    on_base: bool
    """Whether it is on the current base."""
    trained_at: int
    gated: bool = True
    """Whether it serves or the gate has decided on it; of one that no retraining made, too."""


def trained_at(run: RunInfo) -> int:
    """The moment of the retraining that made a run; of any other run when it began."""
    own = run.tag("retrained_at")
    return int(own) if own and own.lstrip("-").isdigit() else int(run.started.timestamp())


def current_base(
    store: Store, prepared: Path, listen: Listener = SILENT, retrain: str | None = None
) -> CurrentBase | None:
    """The newest finished base of the data set that is whole; None where there is none.

    Args:
        store: Where to look.
        prepared: Folder of the data set; bases of other logs are none of the pipeline's.
        listen: Takes a word of each that is gone or broken.
        retrain: Id of the retraining that it must be of.
    """
    place = str(prepared.resolve())
    for run in finished(store, BASE_KINDS, retrain=retrain):
        try:
            folder, _ = resolve(store, run.uri, "base")
            info = load_record(folder / "base.json", BaseInfo)
        except (NotFoundError, ArtifactError) as error:
            listen.say(f"Warning: the base {run.uri} cannot be used: {error}")
            continue
        if info.data.paths == [place]:
            return CurrentBase(run.uri, info, trained_at(run))
    return None


def lineage(store: Store, domain: str, base: CurrentBase) -> Lineage | None:
    """The adapter that a domain goes on from; None where it begins anew.

    The champion, where it is on the current base: what the gate has refused is not gone on from.
    Else the domain's newest adapter on that base; else the champion on an older base, or the newest
    adapter there, which is brought to this one. What cannot be read is passed over.
    """
    champion = _champion(store, domain)
    if champion is not None and champion.info.base_digest == base.info.digest:
        return _lineage(champion, base)
    own = _newest(store, domain, base.info.digest)
    found = own or champion or _newest(store, domain, None)
    if found is None:
        return None
    return _lineage(found, base, own is None or _gated(store, domain, own))


def _lineage(named: Named, base: CurrentBase, gated: bool = True) -> Lineage:
    at = trained_at(named.run) if named.run else 0
    return Lineage(named, named.info.base_digest == base.info.digest, at, gated)


def _gated(store: Store, domain: str, named: Named) -> bool:
    """What somebody trained by hand is theirs to bring to the gate."""
    if named.run is None or named.run.tag("retrain") is None:
        return True
    return any(
        each.tag("decision")
        and (each.run_id == named.run.run_id or each.tag("digest") == named.info.digest)
        for each in versions(store, model_name(domain))
    )


def _champion(store: Store, domain: str) -> Named | None:
    number = reign(store, domain).version
    if number is None:
        return None
    return _read(store, f"models:/{model_name(domain)}/{number}")


def _newest(store: Store, domain: str, base_digest: str | None) -> Named | None:
    for run in finished(store, ["adapt"], page=20, domain=domain, base_digest=base_digest):
        if not run.passed_over and (named := _read(store, run.uri)):
            return named
    return None


def _read(store: Store, uri: str) -> Named | None:
    try:
        return find_adapter(store, uri, None, SILENT)
    except LorarecError:
        return None


def rows_at(dataset: PreparedDataset, digest: str) -> dict[str, int]:
    """Rows of each domain when the data set had a digest; none where it never had it."""
    known = dataset.manifest.upto(digest)
    return {} if known is None else PreparedDataset(dataset.folder, known).domain_rows()


def base_facts(dataset: PreparedDataset, base: CurrentBase, with_drift: bool) -> BaseFacts:
    """A base beside the data set as it is now."""
    had = sum(rows_at(dataset, base.info.data.digest).values())
    new = len(dataset) - had
    found = None
    if with_drift and new and had:
        found = _excess(_counts(dataset, {"": had}, whole=True)).get("")
    return BaseFacts(base.trained_at, new, found)


def domain_facts(
    dataset: PreparedDataset, adapters: Mapping[str, Lineage | None], part: str
) -> dict[str, DomainFacts]:
    """Domains of the data set beside the adapter that each goes on from.

    Args:
        dataset: As it is now.
        adapters: By domain; None where it has none.
        part: That the gate decides on.
    """
    rows = dataset.domain_rows()
    had: dict[str, int] = {}
    for name, own in adapters.items():
        if own is not None:
            had[name] = rows_at(dataset, own.named.info.data_digest).get(name, 0)
    moved = {name: count for name, count in had.items() if 0 < count < rows[name]}
    drifts = _excess(_counts(dataset, moved)) if moved else {}
    undecidable = _without_rows_since(dataset, part)
    return {
        name: DomainFacts(
            rows=rows[name],
            new_rows=rows[name] - had.get(name, 0),
            trained_at=own.trained_at if own else None,
            on_base=own.on_base if own else False,
            decidable=name not in undecidable,
            drift=drifts.get(name),
            gated=own.gated if own else True,
        )
        for name, own in adapters.items()
    }


def _without_rows_since(dataset: PreparedDataset, part: str) -> set[str]:
    """Domains whose newest row is from before a part of a split by time."""
    split = dataset.split
    begins = None if split is None else {"valid": split.t_valid, "test": split.t_test}.get(part)
    if begins is None:
        return set()
    newest: dict[str, int] = {}
    for generation in dataset.manifest.generations:
        for name, counts in generation.domains.items():
            newest[name] = max(newest.get(name, 0), counts.last or 0)
    return {name for name, last in newest.items() if last < begins}


def _counts(dataset: PreparedDataset, had: Mapping[str, int], whole: bool = False) -> pl.DataFrame:
    """`domain`, `item`, `before`, `after`: rows of each item among the first so many and the rest.

    Rows are in the order in which they were added.
    """
    rows = dataset.scan()
    if whole:
        name = pl.lit("")
    else:
        names = dataset.domains.series
        rows = rows.filter(pl.col("domain").is_in(dataset.domains.rows(list(had)).tolist()))
        codes = pl.Series(range(len(names)), dtype=pl.Int64)
        name = pl.col("domain").cast(pl.Int64).replace_strict(codes, names)
    bounds = pl.DataFrame(
        {"domain": list(had), "had": list(had.values())},
        schema={"domain": pl.String, "had": pl.Int64},
    )
    placed = rows.select(domain=name, item="item").with_columns(
        nth=pl.int_range(pl.len()).over("domain")
    )
    old = pl.col("nth") < pl.col("had")
    return (
        placed.join(bounds.lazy(), on="domain")
        .group_by("domain", "item")
        .agg(before=old.sum(), after=(~old).sum())
        .sort("domain", "item")
        .collect()
    )


def _excess(counts: pl.DataFrame) -> dict[str, float]:
    """Divergence of what came since from what was there, less what chance alone makes; bits."""
    found = {}
    for (name,), own in counts.group_by("domain", maintain_order=True):
        if own["before"].sum() and own["after"].sum():
            measured = drift(own["before"].to_numpy(), own["after"].to_numpy(), 0.0)
            found[str(name)] = max(measured.items - measured.items_by_chance, 0.0)
    return found
