"""Moments as people write them: a date, a date with a time, or seconds since 1970; UTC."""

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
