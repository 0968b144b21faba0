"""Parameters as MLflow takes them: one level, text, within its bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

MAX_KEY, MAX_PARAM = 250, 6000


def flat(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Keys joined by dots, and values as text; what MLflow has no room for is cut.

    Args:
        params: Any depth.
        prefix: Put before every key.
    """
    for name, value in params.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping):
            yield from flat(value, f"{key}.")
            continue
        if isinstance(value, list | tuple):
            value = ",".join(str(part) for part in value)
        text = "none" if value is None else str(value)
        if len(text) > MAX_PARAM:
            text = text[: MAX_PARAM - 1] + "…"
        yield re.sub(r"[^\w.\- /:]", "_", key)[:MAX_KEY], text
