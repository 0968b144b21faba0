"""Steps that work side by side on the batches of a stream, each step on one batch at a time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_AHEAD = 2
"""Batches that may wait for their last step: what bounds the memory."""


class Assembly:
    """One thread a step, so that every step sees the batches in their order.

    NumPy, Polars and hashlib let go of the interpreter while they work, so the steps share the
    cores. Leaving the block waits for what runs; after an error what waits is dropped.

    Args:
        steps: Their names.
    """

    def __init__(self, steps: Sequence[str]) -> None:
        self._steps = {name: ThreadPoolExecutor(1, f"lorarec-{name}") for name in steps}
        self._unfinished: deque[Future[Any]] = deque()
        self._results: list[Any] = []

    def __enter__(self) -> Assembly:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for step in self._steps.values():
            step.shutdown(wait=False, cancel_futures=kind is not None)
        for step in self._steps.values():
            step.shutdown(wait=True)

    def start(
        self, step: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:
        """Give a step its next batch."""
        return self._steps[step].submit(work, *args, **kwargs)

    def finish(
        self, step: str, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs
    ) -> Future[R]:
        """Give the last step its next batch, and wait while too many batches are unfinished.

        Raises:
            BaseException: What an earlier batch raised.
        """
        future = self.start(step, work, *args, **kwargs)
        self._unfinished.append(future)
        while len(self._unfinished) > _AHEAD:
            self._results.append(self._unfinished.popleft().result())
        return future

    def results(self) -> list[Any]:
        """What the last step returned for each batch, when all are finished.

        Raises:
            BaseException: What a batch raised.
        """
        while self._unfinished:
            self._results.append(self._unfinished.popleft().result())
        return self._results
