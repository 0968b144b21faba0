"""The logs that a base is trained or judged on: read, split, and told what was left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from lorarec.config import Settings
from lorarec.config.sections import Data
from lorarec.data.small_domains import small_domains, too_small
from lorarec.data.source import DataSource
from lorarec.data.splits import SplitRecord
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import NotFoundError, did_you_mean
from lorarec.jobs.listener import Listener


@dataclass(frozen=True)
class SplitLogs:
    """Split logs and where they come from."""

    frame: pl.DataFrame
    """Canonical logs with their parts, without excluded domains."""
    split: SplitRecord
    """Made over all domains."""
    source: DataSource
    small: dict[str, int]
    """Train rows of the domains that are too small to adapt."""
    excluded: tuple[str, ...] = ()
    """Domains that were left out after the split."""

    def left_out(self) -> dict[str, float]:
        """What was left out of logs and of train, and the domains too small to adapt, as metrics.

        Which rows of which part is in the record of the split.
        """
        found = {
            "rows_low_rating": self.source.dropped,
            "rows_repeated": sum(self.split.repeats.values()),
            "small_domains": len(self.small),
        }
        if (core := self.split.core) is not None:
            found |= {
                "core_users_out": core.users,
                "core_items_out": core.items,
                "core_rows_out": core.rows,
            }
        return {name: float(count) for name, count in found.items()}


def read_split_logs(
    settings: Settings, paths: Sequence[Path], exclude: Sequence[str], listen: Listener
) -> SplitLogs:
    """Read logs, split them over all domains, leave out some domains, and tell what there is to.

    Args:
        settings: Its section `data`; `train.seed` where a split is drawn.
        paths: Logs, or a prepared data set.
        exclude: Domains that are left out after the split.
        listen: Takes words.

    Raises:
        DataError: The logs cannot be read, or not be split this way.
        NotFoundError: An excluded domain is not there.
    """
    source = DataSource.of(paths, settings.data)
    frame, split, source = source.read_split(settings.data, settings.train.seed)
    if source.dropped:
        listen.say(f"{source.dropped:,} rows are rated below [data] min_rating and left out.")
    for note in (*split.notes, *unused_policies(source, split, settings.data)):
        listen.say(note)
    kept = without(frame, exclude)
    least = settings.data.min_domain_rows
    small = small_domains(train_rows(kept), least)
    if (sentence := too_small(small, least, "train rows")) is not None:
        listen.say(f"Warning: {sentence}")
    return SplitLogs(kept, split, source, small, tuple(sorted(exclude)))


def trained_ids(frame: pl.DataFrame) -> tuple[Vocabulary, Vocabulary]:
    """Vocabularies of the train rows' ids, in order of appearance: no others are trained."""
    train = frame.filter(pl.col("split") == "train")
    return Vocabulary().extend(train["user_id"]), Vocabulary().extend(train["item_id"])


def train_rows(frame: pl.DataFrame) -> dict[str, int]:
    """Train rows of each domain of split logs; a domain without one has 0."""
    counts = frame.group_by("domain").agg((pl.col("split") == "train").sum())
    return dict(counts.iter_rows())


def unused_policies(source: DataSource, split: SplitRecord, data: Data) -> list[str]:
    """Sentences on settings that a prepared data set does not follow: it brings its own."""
    if source.split is None or data.cutoffs is not None:
        return []
    return [
        f"The data set was prepared with [data] {name} {getattr(split, name)}: {name} "
        f"{getattr(data, name)} is not used. Prepare it again to change that."
        for name in ("duplicates", "min_user_rows", "min_item_rows")
        if getattr(split, name) != getattr(data, name) != Data.model_fields[name].default
    ]


def without(frame: pl.DataFrame, excluded: Sequence[str]) -> pl.DataFrame:
    """The logs without some domains.

    Raises:
        NotFoundError: A domain is not there, or none would be left.
    """
    domains = frame["domain"].unique().sort().to_list()
    for name in excluded:
        if name not in domains:
            raise NotFoundError(
                f"There is no domain {name!r} to exclude.{did_you_mean(name, domains)}"
            )
    if not set(domains) - set(excluded):
        raise NotFoundError(
            f"All domains are excluded ({', '.join(domains)}). Expected at least one to train on."
        )
    return frame.filter(~pl.col("domain").is_in(list(excluded))) if excluded else frame
