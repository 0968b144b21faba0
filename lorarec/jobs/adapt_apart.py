"""Adapters trained by workers that have neither logs nor store, and recorded by who has both."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.config import Settings
from lorarec.data.source import DataSource
from lorarec.fanout.job import Job, portable
from lorarec.jobs.adapt import train_adapter
from lorarec.jobs.choose import Chosen
from lorarec.jobs.domain_outcome import DomainOutcome, outcome_of
from lorarec.jobs.listener import Listener
from lorarec.lora.config import AdapterConfig
from lorarec.models.artefact import WEIGHTS, load_base, mapped_weights
from lorarec.tracking.held_runs import HeldRun, HeldRuns, entered
from lorarec.tracking.store import Store

Arrays = dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Brief:
    """What a worker needs of all domains."""

    settings: Settings
    config: AdapterConfig
    source: DataSource
    run: str
    """Id of the run of the pass."""
    base_run: str | None
    base: Path | PackedBase


@dataclass(frozen=True)
class PackedBase:
    """A base for workers that do not read this machine's disk."""

    weights: Arrays
    """Where an engine keeps arrays once for all of its workers on a machine, these are."""
    files: Arrays
    """All other files of its folder as bytes: uint8 (n,) by path."""


@dataclass
class Learnt:
    """What a worker hands back of one domain."""

    runs: list[HeldRun]
    words: list[str]
    """What would have been said."""
    outcome: DomainOutcome | None = None
    error: Exception | None = None
    """In place of the outcome."""


@dataclass(frozen=True)
class Parts:
    """A pass over many domains, ready to be gone through."""

    settings: Settings
    config: AdapterConfig
    chosen: Chosen
    source: DataSource
    run: str
    """Id of the run of the pass."""
    frame: pl.DataFrame
    """Split logs of all domains."""

    def job(self, here: bool) -> Job[Brief, pl.DataFrame, Learnt]:
        """The pass as workers take it: a domain's rows go with it, the base once.

        Args:
            here: Whether they read this machine's disk: then they map the base's weights, which
                are in memory once.
        """
        folder = self.chosen.folder
        assert folder is not None  # `choose_base` tells it
        brief = Brief(
            self.settings,
            self.config,
            self.source,
            self.run,
            self.chosen.run,
            folder if here else packed(folder),
        )
        return Job(begin, brief, lambda name: self.frame.filter(pl.col("domain") == name))


def packed(folder: Path) -> PackedBase:
    """The folder of a base as arrays."""
    files = {
        str(path.relative_to(folder)): np.frombuffer(path.read_bytes(), np.uint8)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != WEIGHTS
    }
    return PackedBase(mapped_weights(folder), files)


def begin(brief: Brief) -> Callable[[str, pl.DataFrame], Learnt]:
    """In a worker: the base, loaded and checked once, and the function of a domain's rows."""
    chosen = _chosen(brief)

    def work(name: str, rows: pl.DataFrame) -> Learnt:
        runs = HeldRuns()
        learnt = Learnt(runs.ended, [])
        try:
            adapted = train_adapter(
                brief.settings,
                brief.config,
                name,
                runs,
                chosen,
                rows,
                brief.source,
                Listener(say=learnt.words.append),
                brief.run,
            )
        except Exception as error:
            learnt.error = portable(error)
            for run in learnt.runs:
                run.error = None if run.error is None else learnt.error
        else:
            learnt.outcome = outcome_of(name, adapted, int((rows["split"] == "train").sum()))
        return learnt

    return work


def gathered(learnt: Learnt, store: Store, listen: Listener) -> DomainOutcome:
    """Say what a worker would have said, and enter its run as if it had been made here.

    Raises:
        Exception: What ended the domain; its run stands as FAILED.
        StoreError: The store or the disk refused.
    """
    for sentence in learnt.words:
        listen.say(sentence)
    uris = [entered(run, store) for run in learnt.runs]
    if learnt.error is not None:
        raise learnt.error
    assert learnt.outcome is not None
    return replace(learnt.outcome, run=uris[-1])


def _chosen(brief: Brief) -> Chosen:
    if isinstance(brief.base, Path):
        base = load_base(brief.base, mapped_weights(brief.base))
        return Chosen(base, brief.base_run, brief.base)
    with tempfile.TemporaryDirectory() as temporary, warnings.catch_warnings():
        # Arrays that an engine shares cannot be written to, and nothing here writes to a base.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        folder = Path(temporary)
        for name, content in brief.base.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content.tobytes())
        return Chosen(load_base(folder, brief.base.weights), brief.base_run)
