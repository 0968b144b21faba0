"""What the sections of the settings are made of: their base, and the forms of their values."""

from __future__ import annotations

import tomllib
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from lorarec.config.moments import second_of

COLUMNS = ("user_id", "item_id", "domain", "timestamp", "rating", "weight", "split", "event")
"""The names of the column contract, as `[data.columns]` may rename them."""

Share = Annotated[float, Field(gt=0.0, lt=1.0)]
PartShare = Annotated[float, Field(ge=0.0, lt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Device = Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")]


def listed(value: Any) -> Any:
    """`"10,20"`, `10` and `1.0` as lists, as environment variables and options write them."""
    if isinstance(value, str):
        return [_element(part.strip()) for part in value.split(",") if part.strip()]
    return [value] if isinstance(value, int | float) else value


def some(value: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse no value at all."""
    if not value:
        raise ValueError("at least one value")
    return value


def moments(value: Any) -> Any:
    """Cut-offs as seconds, rising: two of them, or three."""
    found = listed(value)
    if not isinstance(found, list | tuple):
        return found
    try:
        seconds = tuple(second_of(moment) for moment in found)
    except (TypeError, ValueError):
        seconds = ()
    rising = list(seconds) == sorted(set(seconds))
    if len(seconds) not in (2, 3) or not rising:
        raise ValueError(
            "the first moment of validation, that of test and, where the test ends before the logs "
            "do, that after it, such as 2026-11-01,2026-11-08,2026-11-15"
        )
    return seconds


def _element(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


class Section(BaseModel):
    """What all sections share: frozen, no unknown keys, finite numbers, documented fields."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        coerce_numbers_to_str=True,
    )
