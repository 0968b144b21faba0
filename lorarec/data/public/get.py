"""The two ways to a public data set: download and convert, or convert what is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lorarec.data.public.catalogue import find_source
from lorarec.data.public.convert import INTERACTIONS, PROVENANCE, DataSet, convert
from lorarec.data.public.download import PATIENT, Patience
from lorarec.data.public.fetch import fetch
from lorarec.data.public.record import Chosen, Source
from lorarec.data.public.watch import SILENT, Watcher
from lorarec.errors import ArtifactError, ConfigError
from lorarec.storage import read_json

Given = Mapping[str, Sequence[str]]


def default_folder(name: str) -> Path:
    """Where a data set goes when nothing is said."""
    return Path("data") / find_source(name).name


def get_data(
    name: str,
    out: Path | None = None,
    given: Given | None = None,
    force: bool = False,
    watcher: Watcher = SILENT,
    patience: Patience = PATIENT,
) -> DataSet:
    """Download a public data set and make logs of it.

    Args:
        name: A name of the catalogue.
        out: A folder; None for `data/NAME`. Downloads stay in `raw/` below it.
        given: Option, such as `market` → values; see `Source.choices`.
        force: Replace other logs in `out`, and take files that have changed at their source.
        watcher: Where words and progress go.
        patience: How faults of the network are borne.

    Returns:
        What was written.

    Raises:
        NotFoundError: The name, a value or a file does not exist.
        ConfigError: The source takes no such option, or `out` holds other logs.
        DataError: A download failed or is not the file expected, or has another format.
        StoreError: The disk refused.
    """
    source = find_source(name)
    chosen = source.choose(given or {})
    out = out or default_folder(name)
    if not force:
        _check_free(source, chosen, out)
    fetched = fetch(source, chosen, out, force, watcher, patience)
    watcher.say("Converting.")
    inputs = [(file.name, file.path) for file in fetched]
    digests = {file.name: file.sha256 for file in fetched}
    return convert(source, inputs, chosen, out, force, digests)


def import_data(
    name: str, path: Path, out: Path | None = None, given: Given | None = None, force: bool = False
) -> DataSet:
    """Make logs of a public data set's files that are here already.

    Args:
        name: A name of the catalogue.
        path: A folder, an archive or a file in the original's format.
        out: A folder; None for `data/NAME`.
        given: Option → values; an option that selects files takes all that are there by default.
        force: Replace other logs in `out`.

    Returns:
        What was written.

    Raises:
        NotFoundError: The name, the path, a value or a file does not exist.
        ConfigError: The source takes no such option, or `out` holds other logs.
        DataError: A file is not in the original's format.
        StoreError: The disk refused.
    """
    source = find_source(name)
    chosen = source.choose(given or {}, importing=True)
    name_with_folder = f"{path.resolve().parent.name}/{path.name}"  # which may be the market
    return convert(source, [(name_with_folder, path)], chosen, out or default_folder(name), force)


def _check_free(source: Source, chosen: Chosen, out: Path) -> None:
    """Refuse before a long download what would be refused after it."""
    if not (out / INTERACTIONS).exists():
        return
    try:
        there = read_json(out / PROVENANCE)
        same = there["name"] == source.name and there["chosen"] == {
            option: list(values) for option, values in chosen.items()
        }
    except (ArtifactError, KeyError, TypeError):
        same = False
    if not same:
        raise ConfigError(
            f"{out / INTERACTIONS} exists and was not made from {source.name} with these options. "
            f"Expected a new folder; choose another OUT, or add --force to replace it."
        )
