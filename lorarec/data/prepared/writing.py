"""One generation of a data set, written while logs stream by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from lorarec.data.files import LogFile
from lorarec.data.logs import LogStream, Reading
from lorarec.data.prepared.assembly import Assembly
from lorarec.data.prepared.encoding import IdEncoder
from lorarec.data.prepared.manifest import (
    VOCABULARIES,
    DomainCounts,
    FileRecord,
    Options,
    SourceFile,
    Table,
    of_table,
)
from lorarec.data.prepared.moments import Moments
from lorarec.data.prepared.quarantine import Quarantine
from lorarec.data.prepared.shards import encoded_rows, write_shard
from lorarec.data.prepared.side_by_side import in_turn, side_by_side, taking
from lorarec.errors import DataError
from lorarec.fanout.job import Engine
from lorarec.storage import sha256_file

MOST = {"users": 2**32, "items": 2**32, "domains": 2**16}
"""Ids that a shard's numbers can tell apart."""
Array = np.ndarray[Any, Any]
Report = Callable[[int], None]
"""Takes the rows read since the last call."""


@dataclass
class Written:
    """What one pass over some logs left behind."""

    files: list[FileRecord] = field(default_factory=list)
    rows: int = 0
    dropped_bad: int = 0
    dropped_low_rating: int = 0
    broken: dict[str, int] = field(default_factory=dict)
    domains: dict[str, DomainCounts] = field(default_factory=dict)
    sizes: dict[Table, int] = field(default_factory=dict)
    """Ids with a row afterwards, by vocabulary."""
    moments: Moments = field(default_factory=Moments)

    @property
    def shards(self) -> list[FileRecord]:
        """The files that hold rows."""
        return of_table(self.files, "rows")


def write_generation(
    folder: Path,
    number: int,
    files: Sequence[LogFile],
    options: Options,
    known: Mapping[Table, pl.Series],
    report: Report = lambda _: None,
    engine: Engine | None = None,
) -> Written:
    """Read logs once; write their rows, new ids and bad rows into files of their own.

    Args:
        folder: Of the data set.
        number: Of the generation: part of the files' names.
        files: Logs, in order.
        options: How they are read.
        known: Ids that have a row already, in order, by table.
        report: Takes progress.
        engine: Where files are read and checked; None is here, one after another. What is written
            is the same to the byte.

    Raises:
        ContractError: Rows break the contract and are not to be left out.
        DataError: A file cannot be read, or there are more ids than a shard can hold.
        StoreError: The disk refused.
        WorkerLostError: Workers of the engine are killed over a file, again and again.
    """
    done = Written()
    encoders = {table: IdEncoder(known.get(table)) for table in VOCABULARIES}
    how = Reading(options.columns, options.events, options.min_rating, options.rating_weight)
    aside = Quarantine(folder, number)
    stream = LogStream(files, how, taking(options.on_bad_rows, aside))
    batches = in_turn(stream)
    if engine is not None:
        batches = side_by_side(stream, how, options.on_bad_rows, folder, aside, engine)
    read = 0
    # However it ends, no worker writes any more when the folder is taken away.
    with closing(batches), Assembly(("users", "items", "write")) as line:

        def write(place: int, frame: pl.DataFrame, user: Future[Array], item: Future[Array]) -> int:
            rows = encoded_rows(
                frame, user.result(), item.result(), encoders["domains"].encode(frame["domain"])
            )
            _check_room(encoders)
            name = f"rows/{number:06d}-{place:05d}.parquet"
            done.files.append(write_shard(folder, "rows", name, rows))
            done.moments.add(frame["timestamp"])
            _count_domains(done.domains, rows, encoders["domains"].ids())
            return frame.height

        for table in ("users", "items"):
            line.start(table, encoders[table].get_ready)
        for place, batch in enumerate(batches):
            user = line.start("users", batch.rows, "users", encoders["users"])
            item = line.start("items", batch.rows, "items", encoders["items"])
            line.finish("write", write, place, batch.frame, user, item)
            report(stream.checker.rows - read)
            read = stream.checker.rows
        done.rows = sum(line.results())
    for table, encoder in encoders.items():
        if len(fresh := encoder.fresh()):
            name = f"{table}/{number:06d}.parquet"
            done.files.append(write_shard(folder, table, name, fresh.to_frame()))
    done.sizes = {table: len(encoder) for table, encoder in encoders.items()}
    checker = stream.checker
    done.dropped_bad, done.dropped_low_rating = checker.broken_rows, stream.dropped_low_rating
    for violation in checker.violations:
        done.broken[violation.rule] = done.broken.get(violation.rule, 0) + violation.count
    return done


def source_files(files: Sequence[LogFile]) -> list[SourceFile]:
    """Digests of the files' bytes, by which they are known again."""
    return [SourceFile(path=str(f.path.resolve()), sha256=sha256_file(f.path)) for f in files]


def versions() -> dict[str, str]:
    """Of the libraries that shape the files."""
    return {name: version(name) for name in ("lorarec", "polars", "numpy")}


def _count_domains(counts: dict[str, DomainCounts], rows: pl.DataFrame, names: pl.Series) -> None:
    """Add a shard, which is sorted by domain, to the counts of the domains' names."""
    domain = rows["domain"].to_numpy()
    starts = np.flatnonzero(np.diff(domain, prepend=domain[0] + 1))
    stops = np.append(starts[1:], rows.height)
    dated = rows["timestamp"] if "timestamp" in rows.columns else None
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        times = None if dated is None else dated.slice(start, stop - start)
        first, last = (None, None) if times is None else (times.min(), times.max())
        name = names[int(domain[start])]
        found = DomainCounts.model_validate({"rows": stop - start, "first": first, "last": last})
        counts[name] = added(counts.get(name), found)


def added(a: DomainCounts | None, b: DomainCounts) -> DomainCounts:
    """Counts of two lots of rows of one domain taken together."""
    if a is None:
        return b
    firsts = [moment for moment in (a.first, b.first) if moment is not None]
    lasts = [moment for moment in (a.last, b.last) if moment is not None]
    return DomainCounts(
        rows=a.rows + b.rows,
        first=min(firsts) if firsts else None,
        last=max(lasts) if lasts else None,
    )


def _check_room(encoders: dict[Table, IdEncoder]) -> None:
    for table, encoder in encoders.items():
        if len(encoder) > MOST[table]:
            raise DataError(
                f"The logs have more than {MOST[table]:,} {table}. Expected fewer; is the right "
                f"column named under [data.columns]?"
            )


def remove_aside(folder: Path, after: int) -> None:
    """Delete rows that generations after this one have set aside: those that did not end."""
    for path in (folder / "quarantine").glob("*.parquet"):
        number = path.name.partition("-")[0]
        if number.isdigit() and int(number) > after:  # others are not of our making
            path.unlink(missing_ok=True)
