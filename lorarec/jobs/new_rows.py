"""Which rows of a domain an adapter was not trained on yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.data.later_split import goes_on
from lorarec.data.prepared.manifest import is_prepared
from lorarec.data.source import DataSource, absolute
from lorarec.data.splits import SplitRecord
from lorarec.errors import (
    ConfigError,
    DataError,
    NotFoundError,
    NothingNewError,
    did_you_mean,
)
from lorarec.jobs.listener import SILENT, Listener
from lorarec.lora.adapter import AdapterInfo
from lorarec.models.artefact import BaseInfo

KEY = ("user_id", "item_id", "timestamp")
"""What makes a row of one domain the same row; of rows alike as many are old as were there."""


@dataclass(frozen=True)
class NewRows:
    """A domain's rows, old and new."""

    frame: pl.DataFrame
    """All that are known of, split; the column `new` has the train rows to go on with."""
    source: DataSource
    """What was read now."""
    split: SplitRecord
    """How it is split: as the adapter's data was, or at a later cut-off."""
    trained_on: list[DataSource]
    """All that the adapter will have been trained on, the base's own logs aside."""


def new_rows(
    info: AdapterInfo,
    base: BaseInfo,
    paths: Sequence[Path],
    listen: Listener,
    cutoffs: Sequence[int] | None = None,
) -> NewRows:
    """The domain's rows in logs, less those that an adapter was trained on.

    Rows are told apart by user, item and time, so logs may hold the old rows again or the new ones
    alone. What the adapter was trained on is read again where it is as it was: a prepared data set
    by its generation, logs while their digest holds. Where logs have changed since, every train row
    given counts as new, which is said.

    A split by time may move on: to cut-offs that are asked for, or to those of a prepared data set
    that has moved on itself. What was held out before the new cut-off trains then.

    Args:
        info: The adapter's record.
        base: Its base's, with the split.
        paths: The logs; none is the base's prepared data set as it is now, or with cut-offs its
            own logs.
        listen: Takes words.
        cutoffs: First seconds of validation and of test, and maybe after it; None moves nothing,
            but a prepared data set may.

    Raises:
        NotFoundError: The logs do not have the domain.
        ConfigError: The cut-offs are earlier, or the split is none by time.
        NothingNewError: No train row is new.
        DataError: The logs cannot be read, or a prepared data set does not
            have the generation that the adapter was trained on.
    """
    domain = info.domain
    if not paths:
        prepared = all(is_prepared(Path(path)) for path in base.data.paths)
        if not prepared and cutoffs is None:
            raise DataError(
                f"The base was trained on the logs {', '.join(base.data.paths)}, which do not grow "
                f"by themselves. Expected the logs with new rows of {domain!r}: --data PATH; or a "
                f"later cut-off, such as --set data.cutoffs=2026-11-01,2026-11-08"
            )
        paths = [Path(path) for path in base.data.paths] if prepared else []
    split = _split(info, base, paths, cutoffs)
    known = _known_sources(info, base)
    before = [_read(each, info, info.split, listen) for each in known]
    frame, source = base.data.read_again(split, paths, domain=domain)
    given = _numbered(frame.filter(pl.col("domain") == domain))
    if not given.height:
        names = frame["domain"].unique().to_list()
        raise NotFoundError(
            f"There is no domain {domain!r} in {', '.join(source.paths)}."
            f"{did_you_mean(domain, names)} Expected logs with rows of it: --data PATH"
        )
    old = [_numbered(each) for each in before if each is not None]
    fresh = given
    for each in old:
        trained = each.filter(pl.col("split") == "train")
        fresh = fresh.join(trained, on=[*KEY, "nth"], how="anti", nulls_equal=True)
    train = fresh.filter(pl.col("split") == "train")
    if not train.height:
        where = [str(path) for path in paths] or base.data.paths
        raise NothingNewError(_nothing_new(info, split, given, fresh, where))
    if split != info.split:  # what was held out then trains now
        again = [_read(each, info, split, SILENT) for each in known]
        old = [_numbered(each) for each in again if each is not None]
    parts = [given.join(train, on=[*KEY, "nth"], how="anti", nulls_equal=True)]
    for each in old:
        parts.append(each.join(given, on=[*KEY, "nth"], how="anti", nulls_equal=True))
    whole = pl.concat(
        [pl.concat(parts).with_columns(new=False), train.with_columns(new=True)]
    ).drop("nth")
    recorded = source.model_copy(update={"split": None})
    others = [each for each in info.trained_on if each.paths != source.paths]
    return NewRows(whole, source, split, [*others, recorded])


def _split(
    info: AdapterInfo, base: BaseInfo, paths: Sequence[Path], cutoffs: Sequence[int] | None
) -> SplitRecord:
    """The split to go on with: the adapter's own, or one by time that has moved on from it."""
    found = info.split
    if cutoffs is not None:
        if found.used != "time":
            raise ConfigError(
                f"Setting data.cutoffs is {list(cutoffs)}, and the adapter's data was split by "
                f"{found.used}. Expected a split by time; leave the cut-offs out."
            )
        found = found.model_copy(update={"t_end": None}).cut_at(cutoffs)
    else:
        dataset = base.data.model_copy(update={"paths": absolute(paths)}).dataset()
        moved = None if dataset is None else dataset.split
        if moved is not None and goes_on(moved, found):
            found = moved
    if found.cutoffs == info.split.cutoffs:
        return info.split
    if not goes_on(found, info.split):
        raise ConfigError(
            f"Setting data.cutoffs begins validation at {found.t_valid}, and the adapter was "
            f"trained on rows up to {info.split.t_valid}. Expected that moment or a later one."
        )
    # What the earlier one counted is not what is in the parts now.
    return found.model_copy(update={"counts": {}, "repeats": {}, "core": None, "notes": []})


def _known_sources(info: AdapterInfo, base: BaseInfo) -> list[DataSource]:
    """The base's own logs as the adapter saw them, and others that it was trained on."""
    if any(each.paths == base.data.paths for each in info.trained_on):
        return info.trained_on
    if info.trained_on or info.data_digest == base.data.digest:
        return [base.data, *info.trained_on]
    return [base.data.model_copy(update={"digest": info.data_digest})]


def _read(
    source: DataSource, info: AdapterInfo, split: SplitRecord, listen: Listener
) -> pl.DataFrame | None:
    """The domain's rows in what the adapter was trained on; None where it has changed since."""
    prepared = any(is_prepared(Path(path)) for path in source.paths)
    try:
        frame, _ = source.read_again(split, domain=info.domain)
    except NotFoundError:
        return None  # a data set without the domain has no row of it
    except DataError as error:
        if prepared:
            raise DataError(
                f"The adapter of {info.domain!r} was trained on a generation that is not here: "
                f"{error}"
            ) from error
        listen.say(
            f"Warning: what the adapter was trained on cannot be told from what is new, so every "
            f"train row given counts as new. {error}"
        )
        return None
    return frame.filter(pl.col("domain") == info.domain)


def _numbered(frame: pl.DataFrame) -> pl.DataFrame:
    """Rows with the place of each among those alike."""
    return frame.with_columns(nth=pl.int_range(pl.len()).over(KEY))


def _nothing_new(
    info: AdapterInfo,
    split: SplitRecord,
    given: pl.DataFrame,
    fresh: pl.DataFrame,
    paths: list[str],
) -> str:
    where = f"No train row of {info.domain!r} in {', '.join(paths)} is new"
    if not fresh.height:
        return (
            f"{where}: the adapter was trained on data that has all of its {given.height:,} rows. "
            f"Expected logs with other rows: --data PATH"
        )
    parts = fresh["split"].value_counts(sort=True).rows()
    told = ", ".join(f"{count:,} in {part}" for part, count in parts)
    cut = ""
    if split.t_valid is not None:
        cut = f" The cut-off is at {split.t_valid}, and a row from then on is held out."
    return (
        f"{where}, though {fresh.height:,} of other parts are ({told}).{cut} Expected train rows; "
        f"a later cut-off makes some of them: --set data.cutoffs=VALID,TEST, or of a prepared data "
        f"set lorarec data append --cutoff"
    )
