"""Shows on stderr what a job says and how far it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from lorarec.cli.output import Meter, progress, say
from lorarec.jobs.listener import Listener
from lorarec.training.loop import Progress


@contextmanager
def listening() -> Iterator[Listener]:
    """A listener for a job; its progress bar lives until the next one begins or the block ends."""
    with ExitStack() as stack:
        meters: list[Meter] = []

        def begin(name: str, rows: int) -> None:
            stack.close()
            meters[:] = [stack.enter_context(progress(name, rows))]

        def step(done: Progress) -> None:
            if meters and done.rows:
                loss = None if math.isnan(done.loss) else done.loss  # implicit tells none
                meters[0].update(done.rows, loss=loss, rows_per_second=done.rows_per_second)

        def tell(text: str) -> None:
            say(text)

        yield Listener(tell, begin, step)
