"""Lines of cron: checked field by field, and the moments that they stand for; UTC."""

from __future__ import annotations

from datetime import UTC, datetime

FIELDS = ("minute", "hour", "day of the month", "month", "day of the week")


def checked_cron(text: str) -> str:
    """The line with single spaces.

    Raises:
        ValueError: What is expected, and which field is wrong.
    """
    from croniter import croniter

    parts = text.split()
    if len(parts) != len(FIELDS):
        raise ValueError(
            f"{len(FIELDS)} fields of cron ({', '.join(FIELDS)}), such as 0 3 * * *; it has "
            f"{len(parts)}"
        )
    for place, (name, part) in enumerate(zip(FIELDS, parts, strict=True)):
        alone = ["*"] * len(FIELDS)
        alone[place] = part
        if not croniter.is_valid(" ".join(alone)):
            raise ValueError(f"cron's fields, such as 0 3 * * *; its {name} is {part!r}")
    line = " ".join(parts)
    if not croniter.is_valid(line):
        raise ValueError("a line of cron that has a moment, such as 0 3 * * *")
    return line


def next_moment(line: str, after: int) -> int | None:
    """The first second that the line stands for after another; None where it has none.

    Args:
        line: One that `checked_cron` has passed.
        after: Seconds since 1970.
    """
    from croniter import CroniterBadDateError, croniter

    try:
        found = croniter(line, datetime.fromtimestamp(after, tz=UTC)).get_next(datetime)
    except CroniterBadDateError:  # such as the 30th of February
        return None
    return int(found.timestamp())
