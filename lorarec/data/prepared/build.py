"""Make a data set of logs, and add logs to it: the old data set or the new one, never a mix."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.data.files import LogFile, find_files
from lorarec.data.prepared.cutting import Counted, Cutoffs, counted, first_split, moved_split
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import (
    LASTING,
    NAME,
    TABLES,
    VOCABULARIES,
    FileRecord,
    Generation,
    Manifest,
    Options,
    SourceFile,
    Table,
    first_digest,
    is_prepared,
    read_manifest,
    with_digest,
    write_manifest,
)
from lorarec.data.prepared.presence import is_kept, read_presence, write_presence
from lorarec.data.prepared.refining import check_repeats, write_fallen
from lorarec.data.prepared.shards import check_files
from lorarec.data.prepared.writing import (
    Report,
    Written,
    remove_aside,
    source_files,
    versions,
    write_generation,
)
from lorarec.data.splits import SplitRecord
from lorarec.errors import PassingError
from lorarec.storage import atomic_dir, refused, remove_beside


@dataclass(frozen=True)
class Added:
    """What an append found and did."""

    dataset: PreparedDataset
    rows: int
    """Rows added; 0 where everything was there before."""
    known: tuple[str, ...]
    """Files that the data set has already taken, and that were left alone."""


def prepare(
    paths: Sequence[Path], out: Path, options: Options, report: Report = lambda _: None
) -> PreparedDataset:
    """Read, check, number and split logs into a new data set; they stream, whatever their size.

    Args:
        paths: Files, folders and patterns of logs.
        out: A new or empty folder.
        options: How they are read and split; every later append does the same.
        report: Takes the rows read since its last call.

    Raises:
        ContractError: Rows break the contract and `options.on_bad_rows` is `error`.
        DataError: A file cannot be read, or the split leaves a part empty.
        StoreError: `out` is not empty, or the disk refused. Nothing is left behind then.
    """
    files = find_files(paths)
    with ThreadPoolExecutor(1, "lorarec-digest") as beside, atomic_dir(out) as folder:
        sources = beside.submit(source_files, files)
        written = write_generation(folder, 0, files, options, {}, report)
        if options.duplicates == "refuse":
            check_repeats(folder, written.files)
        split = first_split(folder, written, options)
        found = counted(folder, written.files, written.sizes, split)
        written.files += _beside_the_rows(folder, 0, found)
        generation = _generation(0, first_digest(options), sources.result(), written, found.split)
        manifest = Manifest(options=options, generations=[generation])
        write_manifest(folder, manifest)
    return PreparedDataset(out, manifest)


def append(
    folder: Path,
    paths: Sequence[Path],
    cutoffs: Cutoffs | None = None,
    move_cutoff: bool = False,
    report: Report = lambda _: None,
) -> Added:
    """Add logs to a data set. Old rows, old ids and the files that hold them stay as they are.

    Files that the data set has taken before, known by the digest of their bytes, are not taken
    again, so that repeating an append changes nothing.

    Args:
        folder: Of the data set.
        paths: Files, folders and patterns of new logs; may be none where a cut-off moves.
        cutoffs: New first seconds of validation and of test; None keeps the old ones.
        move_cutoff: Find new cut-offs by the shares that `prepare` was told.
        report: Takes the rows read since its last call.

    Raises:
        ContractError: New rows break the contract and bad rows are not left out.
        PassingError: Another append is at work.
        DataError: A file cannot be read, or a cut-off makes no sense.
        StoreError: The disk refused. The data set is as it was then.
    """
    moves = cutoffs is not None or move_cutoff
    files = find_files(paths) if paths or not moves else []
    with _alone(folder):
        dataset = open_dataset(folder, trusting=True)
        manifest = dataset.manifest
        _remove_leftovers(folder, manifest)  # of an append that was killed
        new, sources, known = _not_yet_taken(files, manifest)
        if not new and not moves:
            return Added(dataset, 0, known)
        number = manifest.generations[-1].number + 1
        written = Written(sizes=dataset.sizes())
        try:
            if new:
                ids = _checked_ids(dataset)
                written = write_generation(folder, number, new, manifest.options, ids, report)
            rows = [*manifest.files("rows"), *written.shards]
            before = None
            if cutoffs is None and not move_cutoff and is_kept(dataset.split):
                before = read_presence(folder, manifest, written.sizes)
            compared = bool(new) and manifest.options.duplicates == "refuse"
            if before is None or compared or manifest.options.split == "column":
                check_files(folder, manifest.files("rows"))  # they are read from here on
            files_now = [*([] if before else manifest.all_files), *written.files]
            if compared:
                check_repeats(folder, [*manifest.all_files, *written.files])
            split = moved_split(folder, rows, dataset.split, written, cutoffs, move_cutoff)
            found = counted(folder, files_now, written.sizes, split, before)
            written.files += _beside_the_rows(folder, number, found)
            generation = _generation(number, manifest.digest, sources, written, found.split)
            grown = manifest.model_copy(update={"generations": [*manifest.generations, generation]})
            write_manifest(folder, grown)
        except BaseException:
            _remove_leftovers(folder, read_manifest(folder))
            raise
        _remove_leftovers(folder, grown)  # what was kept of the generation before
    return Added(PreparedDataset(folder, grown), written.rows, known)


def _checked_ids(dataset: PreparedDataset) -> dict[Table, pl.Series]:
    """The ids of each vocabulary; their files are checked while they are read."""
    files = [file for table in VOCABULARIES for file in dataset.manifest.files(table)]
    with ThreadPoolExecutor(1, "lorarec-digest") as beside:
        checked = beside.submit(check_files, dataset.folder, files)
        try:
            return {table: dataset.ids(table) for table in VOCABULARIES}
        finally:
            checked.result()


def _beside_the_rows(folder: Path, number: int, found: Counted) -> list[FileRecord]:
    return [
        *write_fallen(folder, number, found.fallen),
        *write_presence(folder, number, found.parts),
    ]


def _generation(
    number: int,
    before: str,
    sources: list[SourceFile],
    written: Written,
    split: SplitRecord | None,
) -> Generation:
    bare = Generation(
        number=number,
        digest="",
        files=written.files,
        sources=sources,
        rows=written.rows,
        dropped_bad=written.dropped_bad,
        dropped_low_rating=written.dropped_low_rating,
        broken=written.broken,
        domains=dict(sorted(written.domains.items())),
        split=split,
        versions=versions(),
    )
    return with_digest(before, bare)


def _not_yet_taken(
    files: Sequence[LogFile], manifest: Manifest
) -> tuple[list[LogFile], list[SourceFile], tuple[str, ...]]:
    """Files of which the data set has no bytes yet, each once; and the names of the others."""
    taken = {s.sha256 for generation in manifest.generations for s in generation.sources}
    new: list[LogFile] = []
    sources: list[SourceFile] = []
    known: list[str] = []
    for file, source in zip(files, source_files(files), strict=True):
        if source.sha256 in taken:
            known.append(str(file))
            continue
        taken.add(source.sha256)
        new.append(file)
        sources.append(source)
    return new, sources, tuple(known)


def _remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Delete files that no generation names: what an append that did not end has left."""
    named = {record.name for table in LASTING for record in manifest.files(table)}
    named |= {record.name for record in manifest.generations[-1].files}
    for table in TABLES:
        for path in (folder / table).glob("*"):
            if f"{table}/{path.name}" not in named:
                path.unlink(missing_ok=True)
    remove_aside(folder, after=manifest.generations[-1].number)
    remove_beside(folder / NAME)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One append at a time; the lock goes with the process, however it ends."""
    if not is_prepared(folder):
        open_dataset(folder)  # says what is wrong
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(open(folder / ".lock", "w"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise PassingError(
                f"Another process is appending to {folder}. Expected to be alone; wait until it "
                f"has ended, then run the command again."
            ) from error
        except OSError as error:
            raise refused(folder, error) from error
        yield
