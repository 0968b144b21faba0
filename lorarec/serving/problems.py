"""Refusals as JSON problems (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse


def problem(
    status: int,
    title: str,
    detail: str | None = None,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> JSONResponse:
    """A refusal.

    Args:
        status: HTTP's.
        title: What kind it is; the same for all of its kind.
        detail: What was wrong with this request.
        headers: Beside the body.
        more: Further members.
    """
    members = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(
        {name: value for name, value in members.items() if value is not None},
        status,
        dict(headers or {}),
        media_type="application/problem+json",
    )
