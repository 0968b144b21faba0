"""How logs become the rows of a prepared data set, out of the settings."""

from __future__ import annotations

from lorarec.config import Settings
from lorarec.data.prepared.manifest import Options


def options_of(settings: Settings, split: str | None = None) -> Options:
    """How logs become rows, by `[data]`.

    Args:
        settings: Its section `data`, and the seed of `train`.
        split: As `Options.split`, in place of the settings' own.
    """
    data = settings.data
    return Options(
        columns=data.columns,
        events=data.events,
        min_rating=data.min_rating,
        rating_weight=data.rating_weight,
        on_bad_rows=data.on_bad_rows,
        duplicates=data.duplicates,
        min_user_rows=data.min_user_rows,
        min_item_rows=data.min_item_rows,
        split=split or data.split,  # type: ignore[arg-type]
        valid_share=data.valid_share,
        test_share=data.test_share,
        seed=settings.train.seed,
    )
