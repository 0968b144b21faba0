"""One retraining, from new logs to what serves: each step once, and resumed where it broke off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from lorarec.config import Settings
from lorarec.errors import ConfigError, LorarecError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline import history, telling
from lorarec.pipeline.base_step import carried, settle, there
from lorarec.pipeline.collect import collect
from lorarec.pipeline.facts import CurrentBase, current_base
from lorarec.pipeline.gating import gate, gated
from lorarec.pipeline.ingest import ingest, rows_there
from lorarec.pipeline.leftovers import clear
from lorarec.pipeline.lock import alone
from lorarec.pipeline.page import write_page
from lorarec.pipeline.planning import planned
from lorarec.pipeline.points import reached, watched
from lorarec.pipeline.publish import publish
from lorarec.pipeline.reporting import FOLDER as REPORTS
from lorarec.pipeline.reporting import report_all
from lorarec.pipeline.retry import Patience, patiently
from lorarec.pipeline.state import (
    BaseStep,
    DomainStep,
    Ingested,
    Journal,
    load,
    save,
)
from lorarec.pipeline.training import NOTHING_NEW, train_domain, trained
from lorarec.tracking.champions import PROMOTE
from lorarec.tracking.runs import standard_tags
from lorarec.tracking.store import Store

T = TypeVar("T")


@dataclass(frozen=True)
class Ask:
    """What is asked for beyond the settings."""

    force_base: bool = False
    """A new base, whether it is due or not."""
    domains: tuple[str, ...] = ()
    """These alone; none is all of the data set."""
    force_domains: bool = False
    """Adapt them wherever a row is new."""
    anew: bool = False
    """Give up a retraining that was broken off, in place of going on with it."""
    page: bool = True
    """Write its page."""


@dataclass(frozen=True)
class Retrained:
    """What a retraining came to."""

    journal: Journal
    rows: list[history.Row]
    """A row for each domain, as the history has it."""
    resumed: bool = False
    """Whether it went on with one that was broken off."""
    page: Path | None = None
    alert: str = ""
    """Why the webhook did not get it; empty where it did, or there is none."""

    @property
    def left_undone(self) -> dict[str, str]:
        """What failed → why."""
        return self.journal.failed


def retrain(
    settings: Settings,
    store: Store | Callable[[], Store],
    now: int,
    ask: Ask | None = None,
    listen: Listener = SILENT,
    patience: Patience | None = None,
) -> Retrained:
    """Take new logs in, train what is due, let the gate decide, and tell of it.

    A retraining that was broken off is gone on with first, at its own moment. A domain that fails
    keeps its champion and stops no other.

    Args:
        settings: `[pipeline]`, and those of the jobs.
        store: Opened to write, or what opens it, which is tried again as a step is.
        now: Its moment, in seconds since 1970.
        ask: What else is asked for.
        listen: Takes words and progress.
        patience: How what may pass is tried again; None takes the settings'.

    Raises:
        StoreError: Another retraining is at work here, or the store refused.
        ConfigError: No logs are named, or several ranks are asked for.
        DataError: There is no data set yet, and none can be made.
        LorarecError: There is no base yet, and none can be trained.
    """
    with at_work(settings, store, now, ask, listen, patience) as flow:
        return flow.run()


@contextmanager
def at_work(
    settings: Settings,
    store: Store | Callable[[], Store],
    now: int,
    ask: Ask | None = None,
    listen: Listener = SILENT,
    patience: Patience | None = None,
) -> Iterator[Flow]:
    """A retraining that has its work folder to itself, for whoever does its steps one by one.

    It takes what `retrain` takes.

    Yields:
        Begun, or gone on with; no step is done yet.

    Raises:
        StoreError: Another retraining is at work here, or the store refused.
    """
    work = Path(settings.pipeline.work)
    if patience is None:
        patience = Patience(settings.pipeline.attempts, settings.pipeline.backoff_seconds)
    if isinstance(settings.adapt.rank, tuple):
        raise ConfigError(
            f"Setting adapt.rank is {','.join(map(str, settings.adapt.rank))}, which is a sweep. "
            f"Expected one rank, or auto, for a retraining."
        )
    with alone(work):
        try:
            if not isinstance(store, Store):
                store = patiently("opening the store", store, patience, listen)
            flow = Flow(settings, watched(store), work, now, ask or Ask(), listen, patience)
            flow.begin()
        except Exception as error:
            telling.alert(settings, telling.broken_off(error), listen)
            raise
        yield flow


@dataclass
class Flow:
    """A retraining at work; its steps in order, each saved once it is done."""

    settings: Settings
    store: Store
    work: Path
    now: int
    ask: Ask
    listen: Listener
    patience: Patience
    resumed: bool = False
    started: float = field(default_factory=time.monotonic)
    journal: Journal = field(init=False)
    base: CurrentBase = field(init=False)

    def begin(self) -> None:
        """Take up what is there: leftovers go, the journal is opened, runs are marked from now."""
        clear(self.work, self.store, self.patience, self.listen)
        self._open()

    def run(self) -> Retrained:
        """All steps, and the end told to the webhook however it comes."""
        try:
            self._step("ingest", self.take_logs)
            self._step("base", self.take_base)
        except Exception as error:
            self.broken(error)
            raise
        return self.rest()

    def rest(self) -> Retrained:
        """What comes after logs and base: the domains, what serving reads, and the telling."""
        try:
            self._step("due", self._due)
            for name in self.journal.domains or {}:
                self._domain(name)
            self._step("publish", self._publish)
            self._step("report", self._report)
            self._step("collect", self._collect)
            rows, page = self._step("tell", self._tell)
            self._save(finished=True, told=True, error="")
        except Exception as error:
            self.broken(error)
            raise
        alert = telling.alert(self.settings, telling.message(self.journal, rows), self.listen)
        return Retrained(self.journal, rows, self.resumed, page, alert)

    def broken(self, error: Exception) -> None:
        """Keep what ended it before its end, and tell the webhook."""
        with suppress(LorarecError):  # a disk that is full is what ended it, maybe
            self._save(error=telling.words(error))
        telling.alert(self.settings, telling.broken_off(error, self.journal.id), self.listen)

    def _step(self, name: str, do: Callable[[], T]) -> T:
        reached(f"step-{name}-before")
        found = patiently(f"the step {name}", do, self.patience, self.listen)
        reached(f"step-{name}-after")
        return found

    def _save(self, **changes: object) -> None:
        self.journal = save(self.work, self.journal.model_copy(update=changes))

    def _open(self) -> None:
        """The journal to go on with, or a new one."""
        last = load(self.work)
        before, waited = rows_there(self.settings), last.postponed if last is not None else {}
        if last is not None and not last.finished and not self.ask.anew:
            if last.ingested is not None:
                self.resumed, self.journal = True, last
                self._mark()
                self.listen.say(
                    f"Going on with the retraining {last.id}, which was broken off. What came "
                    f"since, and what is asked for now, waits for the next."
                )
                return
            before, waited = last.rows_before, last.waited  # nothing was done: its logs are new yet
        self._begin(before, waited)

    def _begin(self, rows_before: int, waited: dict[str, int]) -> None:
        self.resumed = False
        self.journal = save(self.work, Journal.begun(self.now, rows_before, waited))
        self._mark()

    def _mark(self) -> None:
        marks = standard_tags(retrain=self.journal.id, retrained_at=self.journal.at)
        self.store = self.store.marked(marks)

    def take_logs(self) -> Ingested:
        """Bring the data set to what the logs are; done again it changes nothing."""
        if self.journal.ingested is None:
            before = self.journal.rows_before
            self._save(ingested=ingest(self.settings, self.journal.at, before, self.listen))
        assert self.journal.ingested is not None
        return self.journal.ingested

    def take_base(self) -> BaseStep:
        """Settle which base domains are adapted on, a new one where that is due.

        Where another became the newest since, as by hand, that is settled again; a retraining whose
        domains were decided on already gives way to a new one.
        """
        prepared = Path(self.settings.pipeline.prepared)
        found = current_base(self.store, prepared, self.listen) if self.journal.base else None
        if self.journal.base is not None and (step := carried(self.journal, found)) is None:
            self.listen.say(
                f"The base with digest {self.journal.base.digest} of the retraining "
                f"{self.journal.id} is not the newest any more. Its base is settled again."
            )
            if self.journal.domains is None:
                self._save(base=None)
            else:
                self._begin(self.journal.rows_before, self.journal.waited)
                self.take_logs()
        elif self.journal.base is not None and step != self.journal.base:
            self._save(base=step)
        if self.journal.base is None:
            forced = self.ask.force_base
            self._save(base=settle(self.settings, self.store, self.journal, forced, self.listen))
            found = current_base(self.store, prepared, self.listen)
        assert self.journal.base is not None
        self.base = there(found, self.journal.base, self.store)
        return self.journal.base

    def _due(self) -> None:
        """Who is to be adapted, in which order; decided once."""
        if self.journal.domains is not None:
            return
        steps, idle = planned(
            self.settings,
            self.store,
            self.base,
            self.journal.at,
            self.journal.waited,
            self.ask.domains,
            self.ask.force_domains,
        )
        told = ", ".join(f"{name} ({step.reason})" for name, step in steps.items())
        self.listen.say(f"Due: {told or 'none'}.")
        self._save(domains=steps, idle=idle)

    def _domain(self, name: str) -> None:
        """Train a domain and bring it to the gate; whatever goes wrong is its own matter."""
        try:
            if self._at(name).stage == "due":
                if self._time_is_up():
                    self._keep(name, self._at(name).model_copy(update={"stage": "postponed"}))
                    self.listen.say(f"{name} is postponed: the time is up.")
                    return
                self._train(name)
            if self._at(name).stage == "trained":
                self._gate(name)
        except Exception as error:
            text = telling.words(error)
            self.listen.say(f"Warning: {name} keeps what serves it: {text}")
            failed = self._at(name).model_copy(update={"stage": "failed", "error": text})
            self._keep(name, failed)

    def _train(self, name: str) -> None:
        began = time.monotonic()
        self.listen.say(f"{name}: {self._at(name).reason}.")
        reached("train-before")
        made = patiently(
            f"training {name}",
            lambda: train_domain(
                self.settings, self.store, self.journal.id, name, self.base, self.listen
            ),
            self.patience,
            self.listen,
        )
        reached("train-after")
        step, seconds = self._at(name), time.monotonic() - began
        if made is None:
            said = {"stage": "unchanged", "outcome": NOTHING_NEW, "seconds": seconds}
            self._keep(name, step.model_copy(update=said))
        else:
            self._keep(name, trained(step, made, seconds))

    def _gate(self, name: str) -> None:
        began = time.monotonic()
        run = self._at(name).run
        reached("gate-before")
        found = patiently(
            f"the gate of {name}",
            lambda: gate(self.settings, self.store, name, run, self.listen),
            self.patience,
            self.listen,
        )
        reached("gate-after")
        self._keep(name, gated(self._at(name), found, time.monotonic() - began))
        self.listen.say(f"{name}: {found.decision or found.outcome}, version {found.version}.")

    def _publish(self) -> None:
        """The index of each domain that was promoted; one that cannot be built stops none."""
        if self.journal.published:
            return
        unbuilt = {}
        for name, step in (self.journal.domains or {}).items():
            if step.outcome == PROMOTE:
                try:
                    publish(self.settings, self.store, self.work, name, self.listen)
                except LorarecError as error:
                    self.listen.say(f"Warning: no index of {name}: {error}")
                    unbuilt[f"index of {name}"] = str(error)
        self._save(published=True, unbuilt=unbuilt)

    def _report(self) -> None:
        """The page that `lorarec report` writes, of all domains; without one nothing else stops."""
        if self.journal.reported or not self.settings.pipeline.report:
            return
        error = ""
        try:
            path = self.work / REPORTS / f"{self.journal.id}.html"
            report_all(self.settings, self.store, self.base.uri, path, self.listen)
        except LorarecError as found:
            self.listen.say(f"Warning: no report: {found}")
            error = str(found)
        self._save(reported=True, report_error=error)

    def _collect(self) -> None:
        keep = self.settings.pipeline.keep_adapters
        self._save(collect_error=collect(self.store, self.work, keep, self.listen))

    def _tell(self) -> tuple[list[history.Row], Path | None]:
        rows = telling.rows_of(self.settings, self.store, self.journal)
        history.record(self.work, rows)
        if not self.ask.page:
            return rows, None
        metric, keep = self.settings.gate.metric, self.settings.pipeline.keep
        return rows, write_page(self.work, self.journal, history.read(self.work), metric, keep)

    def _at(self, name: str) -> DomainStep:
        assert self.journal.domains is not None
        return self.journal.domains[name]

    def _keep(self, name: str, step: DomainStep) -> None:
        self.journal = save(self.work, self.journal.with_domain(name, step))

    def _time_is_up(self) -> bool:
        budget = self.settings.pipeline.budget_seconds
        return budget > 0 and self.elapsed() > budget

    def elapsed(self) -> float:
        """Seconds since it began, or went on."""
        return time.monotonic() - self.started
