"""What one request may ask for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of a request; what is beyond them is refused with a 4xx."""

    body: int = 1 << 20
    """Bytes."""
    k: int = 1000
    """Items in a list."""
    batch: int = 256
    """Requests in one body."""
    history: int = 1000
    """Items of a history."""
    id_length: int = 512
    """Characters of an id or a domain."""
    seconds: float = 10.0
    """From the first byte to the answer."""
    threads: int = 8
    """Requests that are ranked at once."""
