"""What an adapter was computed from, or where its training began."""

from __future__ import annotations

from typing import Literal

from lorarec.record import Record


class Derivation(Record):
    """How an adapter came of others."""

    how: Literal["sum", "truncate", "quantize", "peft-import", "continue", "rebase"]
    parents: list[str]
    """Digests of the adapters it was made of; of one of PEFT's that no lorarec exported, the
    SHA-256 of its weights' file."""
    weights: list[float]
    """Of each in a sum; 1 of a single parent."""
    kept: dict[str, float]
    """Target → share of its squared norm that truncation kept; empty where nothing was cut."""
