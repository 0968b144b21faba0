"""Small interactions, and one torch thread for all that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import polars as pl
import pytest
import torch
from scenarios import Ended, together

from lorarec.data.interactions import Interactions
from lorarec.data.vocabulary import Vocabulary


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def ranks_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the processes of `ended` leave their checkpoints."""
    return tmp_path_factory.mktemp("ranks")


@pytest.fixture(scope="module")
def ended(request: pytest.FixtureRequest, ranks_folder: Path) -> dict[str, Ended]:
    """The scenarios that a test module names in `RUN`, by two processes that are started once."""
    return together(request.module.RUN, ranks_folder)


@pytest.fixture(scope="session")
def indexed() -> Callable[..., Interactions]:
    """`indexed(["0 3 d train", ...], users, items)`: rows by number, with maybe a weight last."""
    return _indexed


def _indexed(
    rows: Sequence[str], users: int, items: int, domains: Sequence[str] = ("d",)
) -> Interactions:
    cells = [row.split() for row in rows]
    frame = pl.DataFrame(
        {
            "user_id": [c[0] for c in cells],
            "item_id": [c[1] for c in cells],
            "domain": [c[2] for c in cells],
            "split": [c[3] for c in cells],
            "weight": [float(c[4]) if len(c) > 4 else 1.0 for c in cells],
            "timestamp": [None] * len(cells),
        },
        schema_overrides={"timestamp": pl.Int64, "weight": pl.Float32},
    )
    known = [Vocabulary([str(n) for n in range(count)]) for count in (users, items)]
    return Interactions.from_frame(frame, known[0], known[1], domains)
