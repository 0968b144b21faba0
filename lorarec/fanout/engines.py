"""Engines by their names."""

from __future__ import annotations

import os
from typing import Literal

from lorarec.fanout.job import Engine
from lorarec.fanout.serial import SerialEngine

EngineName = Literal["serial", "spawn", "ray"]


def engine_named(
    name: EngineName, workers: int | None = None, threads: int = 1, address: str | None = None
) -> Engine:
    """The engine that is asked for.

    Args:
        name: Which.
        workers: Processes side by side; None is as many as cores allow.
        threads: Of each process.
        address: Of a Ray cluster.

    Raises:
        ConfigError: It is Ray and not installed.
    """
    if name == "serial":
        return SerialEngine()
    if name == "spawn":
        from lorarec.fanout.spawn import SpawnEngine

        return SpawnEngine(workers or max(_cores() // threads, 1), threads)
    from lorarec.fanout.on_ray import RayEngine

    return RayEngine(workers, threads, address)


def _cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
