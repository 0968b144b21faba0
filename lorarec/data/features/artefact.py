"""An encoder on disk: `features.json` and `categories.parquet`, checked when loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field, FiniteFloat

from lorarec.data.features.encoder import FeatureEncoder
from lorarec.data.features.specs import COUNTED, FeatureSpec
from lorarec.data.features.statistics import Categories, Moments
from lorarec.data.tables import write_parquet
from lorarec.data.vocabulary import Vocabulary
from lorarec.errors import ArtifactError, DataError
from lorarec.record import FORMAT, Record, load_record, save_record
from lorarec.storage import atomic_dir

RECORD, CATEGORIES = "features.json", "categories.parquet"
_SCHEMA = {"feature": pl.String, "row": pl.Int64, "category": pl.String, "count": pl.Int64}


class MomentsRecord(Record):
    """Mean and standard deviation of one numeric feature."""

    mean: FiniteFloat
    std: FiniteFloat = Field(gt=0)


class EncoderRecord(Record):
    """All of an encoder but its categories."""

    format_version: int = FORMAT
    id_column: str
    rows: int = Field(ge=1)
    """Train rows that it was fitted on."""
    specs: list[FeatureSpec]
    moments: dict[str, MomentsRecord]
    """Of each numeric feature."""
    sizes: dict[str, int]
    """Rows of each categorical feature, the unknown included."""
    digest: str
    """`FeatureEncoder.digest()`."""


def save_encoder(encoder: FeatureEncoder, folder: Path | str) -> str:
    """Write an encoder as a new folder, whole or not at all.

    Args:
        encoder: What `fit` or `extended` gave.
        folder: Absent or empty.

    Returns:
        The encoder's digest.

    Raises:
        StoreError: The folder is not empty, or the disk refused.
    """
    record = EncoderRecord(
        id_column=encoder.id_column,
        rows=encoder.rows,
        specs=list(encoder.specs),
        moments={
            name: MomentsRecord(mean=fitted.mean, std=fitted.std)
            for name, fitted in encoder.moments.items()
        },
        sizes=encoder.sizes,
        digest=encoder.digest(),
    )
    with atomic_dir(folder) as temporary:
        write_parquet(_categories_frame(encoder), temporary / CATEGORIES)
        save_record(temporary / RECORD, record)
    return record.digest


def load_encoder(folder: Path | str, digest: str | None = None) -> FeatureEncoder:
    """Read what `save_encoder` wrote and check everything it claims of itself.

    Args:
        folder: The folder.
        digest: The digest that the encoder must have; None trusts the one in the folder.

    Raises:
        ArtifactError: A file is missing, truncated, edited, of a newer format or another digest.
    """
    folder = Path(folder)
    record = load_record(folder / RECORD, EncoderRecord)
    categories = _load_categories(folder / CATEGORIES, record)
    moments = {name: Moments(fitted.mean, fitted.std) for name, fitted in record.moments.items()}
    numeric = {spec.name for spec in record.specs if spec.kind == "numeric"}
    encoder = FeatureEncoder(
        record.id_column, tuple(record.specs), categories, moments, record.rows
    )
    expected = digest or record.digest
    if set(moments) != numeric or encoder.digest() != expected:
        raise ArtifactError(
            f"The features in {folder} have digest {encoder.digest()[:12]}, expected "
            f"{expected[:12]}. {RECORD} or {CATEGORIES} was edited, or they are of another base; "
            f"get the artefact again."
        )
    return encoder


def _categories_frame(encoder: FeatureEncoder) -> pl.DataFrame:
    frames = [
        pl.DataFrame(
            {
                "feature": pl.repeat(name, len(learnt.vocabulary), dtype=pl.String, eager=True),
                "row": np.arange(len(learnt.vocabulary), dtype=np.int64),
                "category": learnt.vocabulary.series,
                "count": learnt.counts,
            },
            schema=_SCHEMA,
        )
        for name, learnt in encoder.categories.items()
    ]
    return pl.concat([pl.DataFrame(schema=_SCHEMA), *frames])


def _load_categories(path: Path, record: EncoderRecord) -> dict[str, Categories]:
    if not path.is_file():
        raise ArtifactError(f"{path} is missing. Expected the categories of {RECORD} beside it.")
    try:
        frame = pl.read_parquet(path, glob=False).select(
            pl.col(n).cast(t) for n, t in _SCHEMA.items()
        )
        names = [spec.name for spec in record.specs if spec.kind in COUNTED]
        learnt = {name: _one_feature(frame.filter(feature=name)) for name in names}
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ArtifactError(
            f"{path} is not a whole table of categories ({reason}). Get the artefact again."
        ) from error
    except DataError as error:
        raise ArtifactError(f"{path} is damaged: {error} Get the artefact again.") from error
    sizes = {name: found.size for name, found in learnt.items()}
    strangers = frame.height - sum(len(found.vocabulary) for found in learnt.values())
    if strangers or sizes != record.sizes:
        raise ArtifactError(
            f"{path} has {frame.height:,} categories, {RECORD} tells of "
            f"{sum(record.sizes.values()) - len(record.sizes):,} for {len(record.sizes)} features. "
            f"One of them was truncated or edited; get the artefact again."
        )
    return learnt


def _one_feature(frame: pl.DataFrame) -> Categories:
    if not frame["row"].equals(pl.Series("row", range(frame.height), dtype=pl.Int64)):
        raise DataError("its rows are not numbered from 0 in order.")
    if frame["count"].null_count():
        raise DataError("a count is null.")
    return Categories(Vocabulary(frame["category"]), frame["count"].to_numpy())
