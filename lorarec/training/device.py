"""Which device trains, and how many threads it may use."""

from __future__ import annotations

import torch

from lorarec.errors import ConfigError


def resolve_device(name: str) -> str:
    """The device that `auto`, `cpu`, `cuda`, `cuda:1` or `mps` means here.

    Raises:
        ConfigError: The device is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, place = name.partition(":")
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }.get(kind, 0)
    if not (place or "0").isdecimal() or int(place or 0) >= there:
        raise ConfigError(
            f"There is no device {name!r} here: torch {torch.__version__} sees {there} of that "
            f"kind. Expected one that is there: --device cpu, or --device auto to choose."
        )
    return name


def set_threads(count: int | None) -> None:
    """Let torch use so many CPU threads; None leaves it to torch."""
    if count is not None:
        torch.set_num_threads(count)
