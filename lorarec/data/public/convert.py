"""From a source's files to a data set on disk: logs, side tables and where they come from."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from lorarec.data.contract import Checker
from lorarec.data.logs import load_logs, logs_digest, write_logs
from lorarec.data.public import amazon2023, kuairand, movielens, wsdm22, xmarket
from lorarec.data.public.archive import GIB, find_files, names_in
from lorarec.data.public.layout import Converted, Files, Layout
from lorarec.data.public.record import Chosen, Source
from lorarec.data.schema import normalise
from lorarec.data.tables import write_table
from lorarec.errors import ConfigError, DataError, NotFoundError, StoreError
from lorarec.storage import write_json

LAYOUTS: dict[str, Layout] = {
    **movielens.LAYOUTS,
    **xmarket.LAYOUTS,
    **wsdm22.LAYOUTS,
    **amazon2023.LAYOUTS,
    **kuairand.LAYOUTS,
}
INTERACTIONS = "interactions.parquet"
SIDE_TABLES = ("users.parquet", "items.parquet")
PROVENANCE = "source.json"


@dataclass(frozen=True)
class DataSet:
    """What was written."""

    name: str
    path: Path
    """The logs."""
    rows: int
    users: int
    items: int
    domains: dict[str, int]
    """Domain → rows, largest first."""
    digest: str
    """SHA-256 of the logs in their order, as `pretrain` records it."""
    licence: str
    citation: str
    chosen: Chosen
    notes: tuple[str, ...] = ()
    """Sentences on what was left out or decided."""
    side_tables: tuple[Path, ...] = ()
    """users.parquet and items.parquet, where the source knows something of them."""
    files: dict[str, str] = field(default_factory=dict)
    """Downloaded file → hex SHA-256."""


def convert(
    source: Source,
    inputs: Sequence[tuple[str, Path]],
    chosen: Chosen,
    out: Path,
    force: bool = False,
    files: dict[str, str] | None = None,
) -> DataSet:
    """Make a data set of a source's files.

    Args:
        source: The data set that the files are of.
        inputs: Names and paths of files, folders and archives in the original's format.
        chosen: From `source.choose`.
        out: A folder. It gets interactions.parquet, maybe users.parquet and items.parquet, and
            source.json with licence, citation and digest.
        force: Replace other logs that are there.
        files: Downloaded file → digest, for source.json.

    Returns:
        What was written.

    Raises:
        NotFoundError: A path is not there, or has none of the files that are meant.
        DataError: A file is not in the original's format.
        ConfigError: The folder holds other logs.
        StoreError: The disk refused.
    """
    layout = LAYOUTS[source.layout]
    for _, path in inputs:
        if not path.exists():
            raise NotFoundError(
                f"{path} does not exist. Expected {layout.expected}; get them by hand from "
                f"{source.page}, or run `lorarec data get {source.name}`."
            )
    with _scratch(out) as folder:
        found = find_files(
            inputs,
            layout,
            lambda words: _meant(words, chosen),
            Path(folder),
            source.unpacked_gib * GIB,
        )
        _check_there(source, layout, found, chosen, inputs)
        converted = layout.convert(found, chosen)
    logs = _checked(source, converted)
    digest = logs_digest(logs)
    if not force:
        _check_free(out, digest)
    return _write(source, logs, digest, converted, chosen, out, files or {})


def _scratch(out: Path) -> tempfile.TemporaryDirectory[str]:
    """A folder for what is unpacked, on the disk that the data set goes to; gone at the end."""
    folder = next(path for path in (out, *out.absolute().parents) if path.is_dir())
    try:
        return tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked-")
    except OSError as error:
        raise StoreError(
            f"Could not write to {folder}: {(error.strerror or str(error)).lower()}. Expected a "
            f"folder that can be written to; choose another OUT."
        ) from error


def _meant(words: dict[str, str], chosen: Chosen) -> bool:
    return all(words.get(option, "") in ("", *values) for option, values in chosen.items())


def _check_there(
    source: Source,
    layout: Layout,
    found: Files,
    chosen: Chosen,
    inputs: Sequence[tuple[str, Path]],
) -> None:
    there = [file for role in layout.needed for file in found[role]]
    for option, values in chosen.items():
        seen = {file.words.get(option, "") for file in there}
        absent = [value for value in values if value not in seen]
        if there and absent and any(option in file.words for file in there) and "" not in seen:
            raise NotFoundError(
                f"There is no file of the {option} {absent[0]!r}: found "
                f"{', '.join(sorted(seen))}. Expected {layout.expected}."
            )
    if there:
        return
    names = [name.removesuffix(".gz") for _, path in inputs for name in names_in(path)]
    other = [key for key, layout in LAYOUTS.items() if any(map(layout.role, names))]
    hint = f" It looks like {' or '.join(other)}." if other and source.layout not in other else ""
    where = ", ".join(str(path) for _, path in inputs)
    raise NotFoundError(
        f"{where} holds none of the files of {source.name}: found "
        f"{', '.join(sorted(names)[:5]) or 'nothing'}.{hint} Expected {layout.expected}, "
        f"as they come from {source.page}."
    )


def _checked(source: Source, converted: Converted) -> pl.DataFrame:
    table = converted.interactions
    if table.height == 0:
        raise DataError(
            f"The files of {source.name} hold no interaction. Expected the original files; get "
            f"them again from {source.page}."
        )
    for name in table.columns:
        if name not in converted.may_lack and (nulls := table[name].null_count()):
            raise DataError(
                f"{nulls:,} of {table.height:,} rows are without {name}. Expected one in each, as "
                f"in the original: a file is damaged; get it again from {source.page}."
            )
    checker = Checker()
    if checker.check(table) is not None:
        broken = " ".join(violation.sentence() for violation in checker.violations)
        raise DataError(
            f"The files of {source.name} hold what no log may. {broken} Expected the original "
            f"files; get them again from {source.page}."
        )
    return normalise(table.lazy()).collect()


def _check_free(out: Path, digest: str) -> None:
    """Refuse to replace what is not the same data set."""
    there = [out / name for name in (INTERACTIONS, *SIDE_TABLES) if (out / name).exists()]
    if not there or _digest_there(out) == digest:
        return
    raise ConfigError(
        f"{there[0]} exists and holds something else. Expected a new folder or the same logs; "
        f"choose another OUT, or add --force to replace it."
    )


def _digest_there(out: Path) -> str:
    try:
        return logs_digest(load_logs(out / INTERACTIONS))
    except DataError:
        return ""  # none, or none that can be read


def _write(
    source: Source,
    logs: pl.DataFrame,
    digest: str,
    converted: Converted,
    chosen: Chosen,
    out: Path,
    files: dict[str, str],
) -> DataSet:
    # The logs first: their digest is how a later run knows an interrupted one as the same.
    write_logs(logs, out / INTERACTIONS)
    side_tables = []
    for name, table in zip(SIDE_TABLES, (converted.users, converted.items), strict=True):
        if table is not None:
            write_table(table, out / name)
            side_tables.append(out / name)
        elif (out / PROVENANCE).exists():
            (out / name).unlink(missing_ok=True)  # of the data set that is replaced
    counts = logs["domain"].value_counts().sort(["count", "domain"], descending=[True, False])
    made = DataSet(
        name=source.name,
        path=out / INTERACTIONS,
        rows=logs.height,
        users=logs["user_id"].n_unique(),
        items=logs["item_id"].n_unique(),
        domains=dict(counts.iter_rows()),
        digest=digest,
        licence=source.licence,
        citation=source.citation,
        chosen=chosen,
        notes=converted.notes,
        side_tables=tuple(side_tables),
        files=files,
    )
    write_json(
        out / PROVENANCE,
        {
            "name": made.name,
            "title": source.title,
            "page": source.page,
            "domain": source.domain,
            "licence": made.licence,
            "citation": made.citation,
            "chosen": {option: list(values) for option, values in chosen.items()},
            "digest": made.digest,
            "rows": made.rows,
            "files": files,
            "notes": list(made.notes),
        },
    )
    return made
