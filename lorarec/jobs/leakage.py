"""Whether an imported model may have seen what it will be measured on: asked, said, refused."""

from __future__ import annotations

from datetime import datetime

from lorarec.config.moments import second_of, shown_second
from lorarec.data.splits import SplitRecord
from lorarec.errors import DataError
from lorarec.jobs.listener import Listener
from lorarec.models.origin import TRAIN_ROWS, Leak, Until, leak_of


def parse_until(text: str) -> Until:
    """`train`, or a date or moment of ISO 8601 as seconds; without a time zone it is UTC.

    Raises:
        DataError: It is neither.
    """
    if text == TRAIN_ROWS:
        return "train"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DataError(
            f"{text!r} is no date. Expected the first day the model saw nothing of, such as "
            f"2025-06-01, or `train` where it saw this split's train rows alone."
        ) from None
    return second_of(moment)


def checked_leak(split: SplitRecord, until: Until, accepted: bool, listen: Listener) -> Leak:
    """What is to be recorded of a leak; said where there may be one.

    Args:
        split: Of the data set.
        until: When the model's training ended, as stated.
        accepted: Whether a stated leak is wanted.
        listen: Takes words.

    Raises:
        DataError: The model is stated to have seen held-out rows, and that is not accepted.
    """
    leak = leak_of(split, until)
    if leak == "unknown":
        if isinstance(until, int):
            why = f"a date tells nothing of a split by {split.used}"
        else:
            why = "it is not known until when the model was trained"
        listen.say(
            f"Warning: {why}, so it may have seen validation and test rows, and measures on them "
            f"may flatter it. Say what you know: --trained-until DATE, or --trained-until train"
        )
    elif leak == "yes":
        assert isinstance(until, int)
        assert split.t_valid is not None
        found = (
            f"The model is trained until {shown_second(until)}, and validation begins at "
            f"{shown_second(split.t_valid)}: it has seen held-out rows."
        )
        if not accepted:
            raise DataError(
                f"{found} Expected training that ends before validation begins. Give logs whose "
                f"validation begins later, with --data or --set data.valid_share and "
                f"data.test_share; or take measures that flatter it: --accept-leak"
            )
        listen.say(f"Warning: {found} Measures on them flatter it; this is recorded with the base.")
    return leak
