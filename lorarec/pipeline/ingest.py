"""New logs taken into the prepared data set: each file once, a broken one left out and told."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from lorarec.config import Settings
from lorarec.data.files import find_files
from lorarec.data.prepared.build import append, prepare
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import is_prepared
from lorarec.data.prepared.options import options_of
from lorarec.errors import ConfigError, DataError
from lorarec.jobs.listener import SILENT, Listener
from lorarec.pipeline.due import DAY
from lorarec.pipeline.state import Ingested
from lorarec.pipeline.watermark import remember, stamps, unseen
from lorarec.storage import sha256_file


def rows_there(settings: Settings) -> int:
    """Rows of the data set as it is; 0 before the first retraining."""
    folder = Path(settings.pipeline.prepared)
    return len(open_dataset(folder, trusting=True)) if is_prepared(folder) else 0


def ingest(settings: Settings, now: int, before: int, listen: Listener = SILENT) -> Ingested:
    """Bring the data set to what the logs are now, and its cut-offs to where they are due.

    Done again it changes nothing: files are known by the digest of their bytes. A file that breaks
    the column contract is left out whole and tried again the next time; the others are taken.

    Args:
        settings: `[pipeline]` says where, `[data]` how.
        now: Rows after it do not move the cut-offs.
        before: Rows there were when the retraining began.
        listen: Takes words.

    Raises:
        ConfigError: No logs are named.
        DataError: There is no data set yet and none can be made of the logs.
        StoreError: The disk refused.
    """
    folder = Path(settings.pipeline.prepared)
    paths = named_logs(settings)
    refused: dict[str, str] = {}
    if is_prepared(folder):
        dataset = _append(settings, folder, paths, refused, listen)
    else:
        for left in folder.parent.glob(f".{folder.name}.*.tmp"):  # of a prepare that was killed
            shutil.rmtree(left, ignore_errors=True)
        read = stamps(file.path for file in find_files(paths))
        dataset = prepare(paths, folder, options_of(settings))
        remember(Path(settings.pipeline.work), dataset, read)
    _tell_future(dataset, now, listen)
    dataset = _moved(settings, dataset, now, listen)
    added = len(dataset) - before
    listen.say(f"Logs: {added:,} new rows, {len(dataset):,} in all.")
    return Ingested(
        digest=dataset.digest,
        generation=dataset.last.number,
        rows=len(dataset),
        added=added,
        refused=refused,
    )


def named_logs(settings: Settings) -> list[Path]:
    """The paths at `[pipeline] logs`.

    Raises:
        ConfigError: There are none.
    """
    if not settings.pipeline.logs:
        raise ConfigError(
            "Setting pipeline.logs names no logs. Expected files, folders or patterns, such as "
            '[pipeline] logs = ["logs/*.parquet"] in lorarec.toml.'
        )
    return [Path(path) for path in settings.pipeline.logs]


def _append(
    settings: Settings,
    folder: Path,
    paths: Sequence[Path],
    refused: dict[str, str],
    listen: Listener,
) -> PreparedDataset:
    """All new files at once; where some cannot be taken, one after the other."""
    work, dataset = Path(settings.pipeline.work), open_dataset(folder, trusting=True)
    if options_of(settings) != dataset.manifest.options:
        listen.say(
            f"Warning: [data] or the seed has changed since {folder} was made, which goes on as it "
            f"began. To begin anew, name another folder: [pipeline] prepared."
        )
    found: list[Path] = []
    for path in paths:
        try:
            found += [file.path for file in find_files(path)]
        except DataError as error:
            listen.say(f"Warning: no logs at {path}: {error}")
    read = stamps(found := unseen(work, dataset, found))
    found = _unchanged(dataset, found, refused, listen)
    if not found:
        return dataset
    try:
        dataset = append(folder, found).dataset
    except DataError as error:
        if len(found) == 1:
            _refuse(found[0], error, refused, listen)
        for file in found if len(found) > 1 else []:
            try:
                append(folder, [file])
            except DataError as broken:
                _refuse(file, broken, refused, listen)
        dataset = open_dataset(folder, trusting=True)
    left = {str(Path(name).resolve()) for name in refused}
    remember(work, dataset, {name: stamp for name, stamp in read.items() if name not in left})
    return dataset


def _unchanged(
    dataset: PreparedDataset, files: Sequence[Path], refused: dict[str, str], listen: Listener
) -> list[Path]:
    """Files but those that were taken with other bytes, whose rows would be taken twice."""
    sources = [each for generation in dataset.manifest.generations for each in generation.sources]
    taken, bytes_taken = {each.path for each in sources}, {each.sha256 for each in sources}
    kept = []
    for file in files:
        if str(file.resolve()) in taken and sha256_file(file) not in bytes_taken:
            why = DataError(
                f"{file} has changed since its rows were taken. Expected logs that stay as they "
                f"are, as rows that are in it still would be taken twice; write what is new to a "
                f"file of another name, and move this one away."
            )
            _refuse(file, why, refused, listen)
        else:
            kept.append(file)
    return kept


def _refuse(file: Path, error: DataError, refused: dict[str, str], listen: Listener) -> None:
    refused[str(file)] = str(error)
    listen.say(f"Warning: {file} was not taken: {error}")


def newest_row(dataset: PreparedDataset, now: int) -> int | None:
    """The second of the newest row, `now` where rows lie after it; None without timestamps."""
    seconds = [
        counts.last
        for generation in dataset.manifest.generations
        for counts in generation.domains.values()
        if counts.last is not None
    ]
    return min(max(seconds), now) if seconds else None


def _tell_future(dataset: PreparedDataset, now: int, listen: Listener) -> None:
    names = sorted(
        {
            name
            for generation in dataset.manifest.generations
            for name, counts in generation.domains.items()
            if counts.last is not None and counts.last > now
        }
    )
    if names:
        listen.say(
            f"Warning: rows of {', '.join(names[:5])} are dated later than now. They are kept, and "
            f"move no cut-off; is a clock wrong?"
        )


def _moved(
    settings: Settings, dataset: PreparedDataset, now: int, listen: Listener
) -> PreparedDataset:
    """The data set at the cut-offs that are due now.

    They move where rows came since they last did: a generation without logs is such a move, so
    that one which was broken off before it is made up for, and one that was made is not repeated.
    """
    split, window = dataset.split, settings.pipeline.window_days
    last = newest_row(dataset, now)
    if split is None or split.used != "time" or last is None or not dataset.last.sources:
        return dataset
    first = dataset.last.number == 0
    if window is None:
        if first:
            return dataset
        return append(dataset.folder, [], move_cutoff=True).dataset
    length = round(window * DAY)
    # Where valid decides nothing is asked of the test: it has the rows of the last second alone.
    t_test = last if settings.gate.part == "valid" else last + 1 - length
    t_valid = t_test - length
    if not first and split.t_valid is not None and t_valid <= split.t_valid:
        return dataset
    try:
        return append(dataset.folder, [], (t_valid, t_test)).dataset
    except DataError as error:
        listen.say(f"Warning: the cut-offs stay where they are: {error}")
        return dataset
