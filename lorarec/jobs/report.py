"""One page about what was compared: values of runs gathered, rendered, and recorded as a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from lorarec.config import Settings
from lorarec.data.describe import describe
from lorarec.errors import ConfigError, LorarecError, NotFoundError
from lorarec.jobs.choose import Chosen, choose_base
from lorarec.jobs.listener import SILENT, Listener
from lorarec.jobs.named_adapter import ADAPTER_KINDS
from lorarec.jobs.ranking import Arena
from lorarec.jobs.report_lists import listed, read_titles, shown_users
from lorarec.jobs.report_records import (
    artifact_json,
    cost_of,
    curves_of,
    evaluation_of,
    per_user,
    training_of,
)
from lorarec.jobs.report_runs import Meant, meant
from lorarec.lora.adapter import Adapter, load_adapter
from lorarec.lora.difference import difference
from lorarec.lora.state import AdapterState
from lorarec.report.content import Content, Evaluation, Likeness, Listed
from lorarec.report.page import Page, render
from lorarec.storage import write_text
from lorarec.tracking.info import RunInfo
from lorarec.tracking.registry import find_run, finished, resolve
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store

PARTS = ("items", "users", "transform", "bias")
"""Parts in which adapters are compared."""
ALIKE = 12
"""Adapters that are compared pair by pair at most."""


@dataclass(frozen=True)
class Reported:
    """What `report` wrote."""

    path: Path
    run: str
    """`runs:/<id>`, with the page and its pictures."""
    bytes: int
    evaluations: dict[str, str]
    """Domain → the run that the page shows."""
    pictures: list[str] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    """Section → why it is empty."""


def report(
    settings: Settings,
    store: Store,
    runs: Sequence[str],
    out: Path,
    *,
    items: Path | None = None,
    title_column: str = "title",
    users: int = 2,
    paths: Sequence[Path] = (),
    listen: Listener = SILENT,
) -> Reported:
    """Write the page, and record it with its pictures.

    What cannot be read for one section, such as logs that have changed, is said in that section;
    the others are written all the same.

    Args:
        settings: Of `evaluate` the cuts, of `train` the seed of draws.
        store: Where the runs are.
        runs: As `meant` takes them.
        out: The page's file.
        items: A table with titles.
        title_column: Their column.
        users: How many users of each domain to show lists of.
        paths: Other logs than the base's, by choice.
        listen: Takes words.

    Raises:
        NotFoundError: A run is not there.
        ConfigError: The runs are of different bases, or of kinds that a report is not of.
        DataError: The titles cannot be read.
        StoreError: The page cannot be written, or the store refused.
    """
    titles = read_titles(items, title_column) if items is not None else {}
    found = meant(store, runs)
    listen.say(
        f"Evaluations: {', '.join(sorted(found.evaluations)) or 'none yet'}, on the base "
        f"{found.base_run or found.base_digest}."
    )
    content = _gathered(settings, store, found, titles, users, paths, listen)
    page = render(content, _title(found))
    write_text(out, page.html)
    recorded = _recorded(settings, store, found, page)
    return Reported(
        path=out,
        run=recorded,
        bytes=len(page.html.encode()),
        evaluations={evaluation.domain: evaluation.run for evaluation in content.evaluations},
        pictures=sorted(page.pictures),
        missing=dict(content.missing),
    )


def _title(found: Meant) -> str:
    domains = sorted(found.evaluations)
    if not domains:
        return "A base and its adapters"
    shown = ", ".join(domains[:4]) + (f" and {len(domains) - 4} more" if len(domains) > 4 else "")
    return f"Base and adapters: {shown}"


def _recorded(settings: Settings, store: Store, found: Meant, page: Page) -> str:
    tags = standard_tags(base_run=found.base_run, base_digest=found.base_digest)
    shown = {f"run_{domain}": info.uri for domain, info in found.evaluations.items()}
    with store.run(
        "report", "report", params=shown, tags=tags, config=settings.model_dump()
    ) as run:
        run.log_text("report.html", page.html)
        with run.artifact_folder("charts") as folder:
            for name, content in page.pictures.items():
                (folder / name).write_bytes(content)
    return run.uri


def _gathered(
    settings: Settings,
    store: Store,
    found: Meant,
    titles: dict[str, str],
    users: int,
    paths: Sequence[Path],
    listen: Listener,
) -> Content:
    missing: dict[str, str] = {}
    evaluations = [
        own
        for _, info in sorted(found.evaluations.items())
        if (own := evaluation_of(store, info)) is not None
    ]
    k = _cut(evaluations)
    adapters = _adapters(store, found)
    trained = [training_of(store, info, str(info.domain)) for info in adapters.values()]
    base_run = _base_run(store, found)
    if base_run is not None:
        trained.insert(0, training_of(store, base_run, "base"))
    domains = {e.domain for e in evaluations} | set(adapters)
    held = _Held(settings, store, found, adapters, paths, missing, listen)
    return Content(
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        facts=_facts(found, base_run, held.chosen),
        k=k,
        evaluations=evaluations,
        holm=_holm(store, found),
        logs=None if held.frame is None else describe(held.frame),
        curves=curves_of(store, found.base_digest, domains),
        costs=[cost for info in _sized(store, found, domains) if (cost := cost_of(info))],
        trainings=[training for training in trained if training is not None],
        likeness=held.likeness(),
        lists=held.lists(evaluations, k, titles, users),
        missing=missing,
    )


def _base_run(store: Store, found: Meant) -> RunInfo | None:
    """The run that made the base; None where it is not in this store."""
    if found.base_run is None:
        return None
    try:
        return find_run(store, found.base_run.removeprefix("runs:/"))
    except NotFoundError:
        return None


def _cut(evaluations: Sequence[Evaluation]) -> int:
    """20 where all have it, else the smallest that all have."""
    shared = [set(evaluation.cuts) for evaluation in evaluations]
    if not shared:
        return 20
    cuts = set.intersection(*shared)
    if not cuts:
        told = "; ".join(f"{e.domain} {e.cuts}" for e in evaluations)
        raise ConfigError(
            f"The evaluations have no cut-off in common: {told}. Expected one; evaluate again "
            f"with the same --k."
        )
    return 20 if 20 in cuts else min(cuts)


def _adapters(store: Store, found: Meant) -> dict[str, RunInfo]:
    """The adapters that were named or evaluated, by domain."""
    wanted = {
        digest: domain
        for domain, info in found.evaluations.items()
        if (digest := info.tag("adapter_digest")) is not None
    }
    chosen = {str(info.domain): info for info in found.adapters}
    if set(wanted.values()) - set(chosen):
        for info in finished(store, ADAPTER_KINDS, base_digest=found.base_digest):
            domain = wanted.get(info.tag("adapter_digest") or "")
            if domain is not None:
                chosen.setdefault(domain, info)
    return dict(sorted(chosen.items()))


def _sized(store: Store, found: Meant, domains: set[str]) -> list[RunInfo]:
    """Adapters of the base whose sizes are shown: of the page's domains, those compared too."""
    own = [
        info
        for info in finished(store, ADAPTER_KINDS, base_digest=found.base_digest)
        if info.domain in domains
    ]
    return sorted(own, key=lambda info: (str(info.domain), info.metrics.get("parameters", 0.0)))


def _holm(store: Store, found: Meant) -> list[dict[str, object]]:
    if found.together is None:
        return []
    record = artifact_json(store, found.together, "domains.json")
    return list(record["minus_base"]) if record else []


def _facts(found: Meant, run: RunInfo | None, chosen: Chosen | None) -> list[tuple[str, str]]:
    facts = [("base", found.base_run or "not in this store")]
    if found.base_digest:
        facts.append(("digest of the base", found.base_digest))
    if run is not None:
        facts.append(("made", f"{run.started:%Y-%m-%d %H:%M} UTC, {run.kind} {run.name}"))
    if chosen is not None:
        info = chosen.base.info
        facts += [
            ("model", f"{info.model}, {info.dim} dimensions, {info.similarity}"),
            ("logs", ", ".join(Path(path).name for path in info.data.paths)),
            ("rows", f"{info.data.rows:,}"),
            ("digest of the logs", info.data.digest),
            ("split", info.split.used),
        ]
        if info.split.t_test is not None:
            cutoff = datetime.fromtimestamp(info.split.t_test, tz=UTC)
            facts.append(("test begins", f"{cutoff:%Y-%m-%d %H:%M} UTC"))
    if found.together is not None:
        facts.append(("evaluated together", found.together.uri))
    return facts


class _Held:
    """The base, its logs and adapters in memory, as far as they can be had."""

    def __init__(
        self,
        settings: Settings,
        store: Store,
        found: Meant,
        adapters: dict[str, RunInfo],
        paths: Sequence[Path],
        missing: dict[str, str],
        listen: Listener,
    ) -> None:
        self.settings, self.store, self.found, self.missing = settings, store, found, missing
        self.chosen: Chosen | None = None
        self.frame: pl.DataFrame | None = None
        self.digest: str | None = None
        self.paths = paths
        self.adapters: dict[str, Adapter] = {}
        try:
            if found.base_run is None:
                raise ConfigError("The base of these runs is not recorded in this store.")
            self.chosen = choose_base(store, found.base_run, listen)
            info = self.chosen.base.info
            for domain, run in adapters.items():
                folder, _ = resolve(store, run.uri, "adapter")
                self.adapters[domain] = load_adapter(folder, self.chosen.base)
            self.frame, source = info.data.read_again(info.split, paths)
            self.digest = source.digest
        except LorarecError as error:
            listen.say(f"Warning: {error}")
            missing["logs"] = f"The logs could not be read. {error}"
            missing["lists"] = f"Lists need the base, its adapters and its logs. {error}"
            if self.chosen is None or len(self.adapters) < len(adapters):
                missing["likeness"] = f"The adapters could not be read. {error}"

    def likeness(self) -> list[Likeness]:
        """How alike the adapters are, by part."""
        names = sorted(self.adapters)[:ALIKE]
        if len(names) < 2:
            return []
        states = [AdapterState.of(self.adapters[name]) for name in names]
        shape = (len(names), len(names))
        found = {part: np.full(shape, np.nan) for part in PARTS}
        for a, first in enumerate(states):
            for b, second in enumerate(states[: a + 1]):
                for change in difference(first, second):
                    total = change.mean_a + change.mean_b
                    if change.part in found and total > 0:
                        distance = change.mean / total
                        found[change.part][a, b] = found[change.part][b, a] = distance
        return [
            Likeness(part, names, distance)
            for part, distance in found.items()
            if np.isfinite(distance).any()
        ]

    def lists(
        self, evaluations: Sequence[Evaluation], k: int, titles: dict[str, str], count: int
    ) -> list[Listed]:
        """A few users of each domain that has an adapter and values of each user."""
        if self.chosen is None or self.frame is None or count < 1:
            return []
        found: list[Listed] = []
        for evaluation in evaluations:
            adapter = self.adapters.get(evaluation.domain)
            run = self.found.evaluations[evaluation.domain]
            tables = {arm: per_user(self.store, run, arm) for arm in ("base", "lora")}
            own = {arm: table for arm, table in tables.items() if table is not None}
            if adapter is None or len(own) < len(tables):
                continue
            if run.tag("data_digest") != self.digest:
                self.missing["lists"] = (
                    f"The evaluation of {evaluation.domain} read other logs than this report. "
                    f"Name them: lorarec report --data PATH"
                )
                continue
            users = shown_users(own, f"recall_at_{k}", count, self.settings.train.seed)
            chosen = self.chosen.at(adapter.info.split)
            try:
                arena = Arena.of(self._split_as(chosen), evaluation.domain)
                found += listed(arena, chosen, adapter, users, evaluation.part, k, titles)
            except LorarecError as error:
                self.missing["lists"] = f"Lists of {evaluation.domain}: {error}"
        return found

    def _split_as(self, chosen: Chosen) -> pl.DataFrame:
        """The logs as an adapter splits them: one that went on may have a later cut-off."""
        assert self.frame is not None
        if chosen is self.chosen:
            return self.frame
        info = chosen.base.info
        return info.data.read_again(info.split, self.paths)[0]
