"""`adapt.rank`: one rank, several to compare, or `auto`, however it is written."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import PlainValidator

AUTO: Literal["auto"] = "auto"
"""The smallest rank of each target that validates as well as the best."""
SINGLE = 8
"""The rank where none is named, and where a command that needs one is told `auto`."""
LARGEST = 4096


def _rank(value: Any) -> int | tuple[int, ...] | Literal["auto"]:
    """`8`, `"8"`, `"2,4,8"`, `[2, 4, 8]` or `"auto"`; several are sorted, and one alone is one."""
    if isinstance(value, str):
        if value.strip().lower() == AUTO:
            return AUTO
        value = [_number(part.strip()) for part in value.split(",")]
    several = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [n for n in several if isinstance(n, int) and not isinstance(n, bool)]
    if not several or len(numbers) != len(several):
        raise ValueError("a whole number, several such as 2,4,8, or auto")
    if not all(1 <= number <= LARGEST for number in numbers):
        raise ValueError(f"ranks from 1 to {LARGEST}, at most the base's dimension, such as 8")
    if len(set(numbers)) != len(numbers):
        raise ValueError("each rank once, such as 2,4,8")
    return numbers[0] if len(numbers) == 1 else tuple(sorted(numbers))


def _number(text: str) -> int | str:
    return int(text) if text.isascii() and text.removeprefix("-").isdigit() else text


Rank = Annotated[int | tuple[int, ...] | Literal["auto"], PlainValidator(_rank)]
