"""Where the logs of a base come from: recorded with it, so that later commands read the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import polars as pl
from pydantic import Field

from lorarec.config.sections import Data
from lorarec.data.logs import logs_digest, read_logs
from lorarec.data.prepared.dataset import PreparedDataset, open_dataset
from lorarec.data.prepared.manifest import is_prepared, read_manifest
from lorarec.data.splits import SplitRecord, apply_split, split_logs
from lorarec.errors import DataError
from lorarec.record import Record


class DataSource(Record):
    """Files, how they were read, and the digest of what was in them."""

    later: ClassVar[frozenset[str]] = frozenset({"without"})

    paths: list[str]
    """Absolute paths, as given."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Contract name → the files' own name."""
    min_rating: float | None = None
    """Rows rated below this were dropped."""
    rating_weight: bool = False
    """Whether a rating weighs a row that has no weight."""
    events: dict[str, float] = Field(default_factory=dict)
    """Event type → weight; empty where rows are not weighed by event."""
    digest: str = ""
    """SHA-256 of the rows in their order, before the split."""
    without: str = ""
    """The same, without the rows of ids that were forgotten since: what logs must have now. Empty
    where none were, and of a prepared data set, which knows by itself."""
    rows: int = 0
    """Rows read."""
    dropped: int = 0
    """Rows left out because of their rating."""
    split: SplitRecord | None = None
    """The split that a prepared data set brings; None where the logs bring none."""

    @classmethod
    def of(cls, paths: Sequence[Path], data: Data) -> DataSource:
        """Logs, or a prepared data set, as the settings say that logs are read.

        Args:
            paths: Files, folders and patterns; or one prepared data set, which knows by itself how
                its logs were read.
            data: The section `[data]`.
        """
        return cls(
            paths=absolute(paths),
            columns=data.columns,
            min_rating=data.min_rating,
            rating_weight=data.rating_weight,
            events=data.events,
        )

    def read(
        self, domain: str | None = None, as_of: str | None = None
    ) -> tuple[pl.DataFrame, DataSource]:
        """The logs as they are now, and this source with their digest and number of rows.

        Args:
            domain: Rows of other domains may be left out, where that saves reading them.
            as_of: A prepared data set is read as it was when it had this digest.
        """
        logs, source = self._opened(as_of)
        return logs.frame(domain) if isinstance(logs, PreparedDataset) else logs, source

    def read_split(self, data: Data, seed: int) -> tuple[pl.DataFrame, SplitRecord, DataSource]:
        """The logs as they are now, split: by the cut-offs of the settings where there are some,
        else as a prepared data set is, else as the settings ask.

        Args:
            data: The section `[data]`.
            seed: Of a split that is drawn.

        Returns:
            Split logs, the record of the split, and the source they are of.

        Raises:
            DataError: The logs cannot be read, or not be split this way.
        """
        logs, source = self._opened()
        if source.split is not None and data.cutoffs is None:
            return _split(logs, source.split), source.split, source
        frame, record = split_logs(
            logs.frame() if isinstance(logs, PreparedDataset) else logs,
            data.split,
            valid_share=data.valid_share,
            test_share=data.test_share,
            seed=seed,
            duplicates=data.duplicates,
            min_user_rows=data.min_user_rows,
            min_item_rows=data.min_item_rows,
            cutoffs=data.cutoffs,
        )
        return frame, record, source

    def _opened(
        self, as_of: str | None = None
    ) -> tuple[pl.DataFrame | PreparedDataset, DataSource]:
        """The logs, whole or as a data set that is yet to be read, and this source of them."""
        if (folder := self._prepared()) is not None:
            dataset = open_dataset(folder, as_of)
            source = self._of_dataset(dataset)
            # Whatever was forgotten since, it is the data set that had this digest.
            return dataset, source if as_of is None else source.model_copy(update={"digest": as_of})
        logs = read_logs(
            [Path(p) for p in self.paths],
            self.columns,
            self.min_rating,
            self.rating_weight,
            self.events,
        )
        found = {
            "digest": logs_digest(logs.frame),
            "rows": logs.frame.height,
            "dropped": logs.dropped_low_rating,
        }
        return logs.frame, self.model_copy(update=found)

    def read_again(
        self,
        split: SplitRecord,
        instead: Sequence[Path] = (),
        *,
        learns: bool = True,
        domain: str | None = None,
    ) -> tuple[pl.DataFrame, DataSource]:
        """The same logs, split as recorded; a prepared data set as it was then, whatever was added.

        Args:
            split: The recorded split; its boundaries are used as they are.
            instead: Other paths to read, by choice; then the digest may differ.
            learns: Whether something will be trained or measured on the parts. Then a split that
                follows the rows is refused on other logs: what the base was trained on would be
                in test. To serve, no part is held out, so it may fall as it likes.
            domain: Rows of other domains may be left out, where that saves reading them.

        Returns:
            Split logs, and the source they are of.

        Raises:
            DataError: The logs have changed since they were recorded, cannot be read, or would
                be split otherwise than those that the base was trained on.
        """
        asked = self.model_copy(update={"paths": absolute(instead)}) if instead else self
        logs, source = asked._opened(as_of=None if instead else self.digest)
        if self.without and source.digest == self.digest:
            raise DataError(self._not_forgotten(source))
        if self.without and source.digest == self.without:
            source = source.model_copy(update={"digest": self.digest, "without": self.without})
        if source.digest != self.digest:
            leaks = learns and split.follows_the_rows and not asked._goes_on(self.digest, split)
            if not instead:
                raise DataError(self._changed(source, leaks))
            if leaks:
                raise DataError(self._leaking(source, split))
        return _split(logs, split, domain), source

    def dataset(self) -> PreparedDataset | None:
        """The prepared data set as it is now, where this is one.

        Raises:
            DataError: It is one of several paths.
            ArtifactError: A file of it is missing, truncated or edited.
        """
        folder = self._prepared()
        return None if folder is None else open_dataset(folder)

    def _goes_on(self, digest: str, split: SplitRecord) -> bool:
        """Whether this is a data set that had the digest once, and leaves its drawn rows alone.

        What was appended lies behind the rows of then, so all of those keep their number and each
        user its first pair.
        """
        folder = self._prepared()
        if folder is None or split.used != "random":
            return False
        return read_manifest(folder).upto(digest) is not None

    def _prepared(self) -> Path | None:
        """The folder of a prepared data set, where this is one.

        Raises:
            DataError: It is one of several paths.
        """
        folders = [path for path in map(Path, self.paths) if is_prepared(path)]
        if folders and len(self.paths) > 1:
            raise DataError(
                f"{folders[0]} is a prepared data set and stands among {len(self.paths)} paths. "
                f"Expected it alone; add the others to it: lorarec data append {folders[0]} LOGS"
            )
        return folders[0] if folders else None

    def _of_dataset(self, dataset: PreparedDataset) -> DataSource:
        found = {
            "digest": dataset.digest,
            "rows": len(dataset),
            "dropped": sum(g.dropped_low_rating for g in dataset.manifest.generations),
            "split": dataset.split,
        }
        return self.model_copy(update=found)

    def _found(self, source: DataSource) -> str:
        return (
            f"digest {source.digest[:12]} ({source.rows:,} rows), expected "
            f"{(self.without or self.digest)[:12]} ({self.rows:,} rows)"
        )

    def _not_forgotten(self, source: DataSource) -> str:
        return (
            f"The logs {', '.join(source.paths)} still hold rows of ids that were forgotten: they "
            f"have digest {source.digest[:12]}, and {self.without[:12]} without those rows. "
            f"Expected logs without them: delete the rows there, and leave the others in their "
            f"order."
        )

    def _changed(self, source: DataSource, leaks: bool) -> str:
        remedy = (
            "Bring the old files back or pretrain again."
            if leaks
            else f"Bring the old files back, pretrain again, or say that the new ones are meant: "
            f"--data {self.paths[0]}"
        )
        return (
            f"The logs {', '.join(self.paths)} have changed since the base was trained: "
            f"{self._found(source)}. {remedy}"
        )

    def _leaking(self, source: DataSource, split: SplitRecord) -> str:
        how = "valid drawn from train" if split.used == "column" else split.used
        return (
            f"The logs {', '.join(source.paths)} are not those that the base was trained on: "
            f"{self._found(source)}. Its split ({how}) depends on all rows together, so rows that "
            f"trained the base would become validation or test here. Pretrain on these logs: "
            f"lorarec pretrain --data {source.paths[0]}. To go on with other logs later, choose a "
            f"split that tells each row by itself: --split time, or --split column with a `valid`."
        )


def _split(
    logs: pl.DataFrame | PreparedDataset, record: SplitRecord, domain: str | None = None
) -> pl.DataFrame:
    if isinstance(logs, PreparedDataset):
        return logs.split_frame(record, domain)
    return apply_split(logs, record)


def absolute(paths: Sequence[Path]) -> list[str]:
    """Absolute paths as strings, so that a record holds in any working directory."""
    return [str(Path(p).expanduser().resolve()) for p in paths]
