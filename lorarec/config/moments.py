"""Moments as people write and read them: a date, one with a time, or seconds since 1970; UTC."""

from __future__ import annotations

from datetime import UTC, date, datetime, time


def second_of(value: str | int | date) -> int:
    """Seconds since 1970; what has no time zone is UTC, and a date is its first second.

    Raises:
        ValueError: It is no moment.
    """
    if isinstance(value, int):
        return value
    if isinstance(value, str):
        text = value.strip()
        if text.isdigit():
            return int(text)
        value = datetime.fromisoformat(text)
    if not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp())


def shown_second(second: int) -> str:
    """A second since 1970 for a person, such as `2026-01-31 12:00:00`."""
    return f"{datetime.fromtimestamp(int(second), tz=UTC):%Y-%m-%d %H:%M:%S}"


def shown_minute(second: int | None) -> str | None:
    """Its minute, such as `2026-01-31 12:00`; None stays None."""
    return None if second is None else shown_second(second)[:-3]
