"""Two processes over gloo train what one does, and end together."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ranks import CASES, DROPPED, furthest, trained
from scenarios import SCENARIOS, Ended

from lorarec.errors import ConfigError
from lorarec.training.checkpoint import Checkpoints
from lorarec.training.distributed import Ranks
from lorarec.training.objective import Share

TOLERANCE = 2e-5
"""Largest difference of a weight to one process's after four epochs, of weights of about 1. Seen:
2.4e-7, and 2.0e-6 for two towers."""
RUN = [name for name in SCENARIOS if not name.startswith("sharded")]
FINISHED = [*CASES, "dropout", "broken off and resumed", "stopped by one", "out of memory"]


@pytest.mark.parametrize("name", CASES)
def test_two_ranks_train_what_one_does(ended: dict[str, Ended], name: str) -> None:
    alone, history = trained(CASES[name])
    found = ended[name]
    assert furthest(found.weights[0], alone) < TOLERANCE
    assert history.best_epoch == 4
    for ours, theirs in zip(found.told[0]["epochs"], history.epochs, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_tolerance_is_far_below_what_another_seed_changes() -> None:
    alone, _ = trained(CASES["softmax"])
    assert furthest(trained(CASES["softmax"], seed=1)[0], alone) > 1000 * TOLERANCE


@pytest.mark.parametrize("name", FINISHED)
def test_ranks_end_with_the_same_bits(ended: dict[str, Ended], name: str) -> None:
    first, second = ended[name].weights
    assert first
    assert all(torch.equal(first[parameter], second[parameter]) for parameter in first)
    assert ended[name].told[0] == ended[name].told[1]


def test_broken_off_they_go_on_to_the_same_bits(ended: dict[str, Ended]) -> None:
    resumed, straight = ended["broken off and resumed"], ended["dropout"]
    assert furthest(resumed.weights[0], straight.weights[0]) == 0.0
    assert resumed.told == straight.told


def test_each_rank_drops_other_values_than_one_process(ended: dict[str, Ended]) -> None:
    assert furthest(ended["dropout"].weights[0], trained(DROPPED)[0]) > TOLERANCE


def test_one_process_goes_on_from_what_two_began(
    ended: dict[str, Ended], ranks_folder: Path
) -> None:
    assert ended["stopped by one"].weights  # they left a checkpoint
    going_on = Checkpoints(ranks_folder / "stopped", {"data": "d"}, resume=True)
    resumed, _ = trained(CASES["softmax"], checkpoints=going_on)
    assert going_on.there == 7
    assert furthest(resumed, trained(CASES["softmax"])[0]) < TOLERANCE


@pytest.mark.parametrize(
    ("name", "kind", "words", "code"),
    [
        ("rank 0 fails", "StoreError", "The disk of this rank is full", 2),
        ("rank 1 fails", "RankError", "Rank 1 of 2 ended: The disk of this rank is full", 2),
        ("rank 1 has a bug", "RankError", "Rank 1 of 2 ended: Unexpected error: KeyError", 3),
        ("rank 1 hangs", "RankError", "did not answer", 2),
        ("diverged", "DivergedError", "became nan in epoch 1", 2),
        ("other rows", "ConfigError", "Rank 1 of 2 does not train the same", 2),
    ],
)
def test_where_a_rank_fails_all_end_and_the_first_tells(
    ended: dict[str, Ended], name: str, kind: str, words: str, code: int
) -> None:
    first, second = ended[name].told
    assert first["kind"] == kind
    assert words in first["text"]
    assert first["code"] == second["code"] == code
    assert second["kind"] in {"RankError", "ToldElsewhereError"}


def test_what_takes_the_first_rank_longer_than_others_wait_is_awaited(
    ended: dict[str, Ended],
) -> None:
    assert all("epochs" in told for told in ended["the start hangs"].told)


@given(st.integers(1, 60), st.integers(1, 9), st.booleans())
def test_shares_are_the_whole_batch(count: int, ranks: int, weighted: bool) -> None:
    rows, weights = torch.arange(count), torch.arange(count).double() if weighted else None
    shares = [Share(rank, ranks) for rank in range(ranks)]
    portions = [float(share.portion(count, weights)) for share in shares]
    empty = [share.of(count) == slice(0, 1) for share in shares]
    assert sum(portions) == pytest.approx(0.0 if weighted and count == 1 else 1.0)
    kept = [
        rows[s.of(count)] for s, p, e in zip(shares, portions, empty, strict=True) if p or not e
    ]
    counted = torch.cat(kept) if kept else rows[:0]
    assert set(counted.tolist()) | {0} == set(rows.tolist())
    assert len(counted) == len(set(counted.tolist()))


def test_one_gpu_is_not_for_several_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match="every rank of a machine takes its own"):
        Ranks(1, 2, local_rank=1).device("cuda:0")
    with pytest.raises(ConfigError, match="no device 'cuda:2'"):
        Ranks(2, 4, local_rank=2).device("auto")
